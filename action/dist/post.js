import{L as o}from"./chunk-ZHZA7WKS.js";await o("post");
