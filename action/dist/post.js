import{L as o}from"./chunk-5TEPBABA.js";await o("post");
