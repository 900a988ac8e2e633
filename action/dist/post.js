import{L as o}from"./chunk-2NDETJSQ.js";await o("post");
