import{ia as o,ja as r}from"./chunk-MSI5WOJZ.js";r();r();await o("post");
