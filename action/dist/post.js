import{ia as o,ja as r}from"./chunk-VSU5LZU4.js";r();r();await o("post");
