import{L as o}from"./chunk-ODSGBH7T.js";await o("post");
