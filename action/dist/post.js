import{ia as o,ja as r}from"./chunk-JO4ZY7YD.js";r();r();await o("post");
