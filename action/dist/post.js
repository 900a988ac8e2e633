import{ia as o,ja as r}from"./chunk-V4UW4EKP.js";r();r();await o("post");
