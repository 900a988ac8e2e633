import{ga as o,ha as r}from"./chunk-PQLTCTWU.js";r();r();await o("post");
