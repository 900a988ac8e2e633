import{ga as o,ha as r}from"./chunk-WEFR5JX7.js";r();r();await o("post");
