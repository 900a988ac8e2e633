import{L as o}from"./chunk-TEARXOKL.js";await o("post");
