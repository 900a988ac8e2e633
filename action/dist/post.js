import{ga as o,ha as r}from"./chunk-CDELXCIZ.js";r();r();await o("post");
