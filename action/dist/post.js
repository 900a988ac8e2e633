import{ga as o,ha as r}from"./chunk-7OPI5325.js";r();r();await o("post");
