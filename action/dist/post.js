import{ga as o,ha as r}from"./chunk-YCXZK23V.js";r();r();await o("post");
