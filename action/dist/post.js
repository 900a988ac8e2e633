import{L as o}from"./chunk-3BKBWOTB.js";await o("post");
