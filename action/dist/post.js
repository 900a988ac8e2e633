import{L as o}from"./chunk-PN4422TD.js";await o("post");
