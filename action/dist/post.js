import{ga as o,ha as r}from"./chunk-VPJMF4RG.js";r();r();await o("post");
