import{ga as o,ha as r}from"./chunk-JV4H2BR7.js";r();r();await o("post");
