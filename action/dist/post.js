import{K as o}from"./chunk-E6UWHPIV.js";await o("post");
