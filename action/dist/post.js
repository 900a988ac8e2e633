import{ga as o,ha as r}from"./chunk-IKMZGVQP.js";r();r();await o("post");
