import{ga as o,ha as r}from"./chunk-H5SCVGJK.js";r();r();await o("post");
