import{ia as o,ja as r}from"./chunk-PBW7RL3I.js";r();r();await o("post");
