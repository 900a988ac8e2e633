import{L as o}from"./chunk-XBV77W45.js";await o("post");
