import{L as o}from"./chunk-6KA3PHYV.js";await o("post");
