import{ia as o,ja as r}from"./chunk-GGXYPP2T.js";r();r();await o("post");
