import{K as o}from"./chunk-CVQFC2O2.js";await o("post");
