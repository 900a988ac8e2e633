import{ga as o,ha as r}from"./chunk-5NU3L47H.js";r();r();await o("post");
