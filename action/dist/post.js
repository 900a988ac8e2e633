import{L as o}from"./chunk-FX3RWMMZ.js";await o("post");
