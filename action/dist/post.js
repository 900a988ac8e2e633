import{ga as o,ha as r}from"./chunk-HAAJZVBR.js";r();r();await o("post");
