import{ia as o,ja as r}from"./chunk-D7GNXJPC.js";r();r();await o("post");
