import{ga as o,ha as r}from"./chunk-RNXK3OVJ.js";r();r();await o("post");
