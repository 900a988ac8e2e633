import{L as o}from"./chunk-XCXPLIS4.js";await o("post");
