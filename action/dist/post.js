import{ga as o,ha as r}from"./chunk-6J6FD6US.js";r();r();await o("post");
