import{K as o}from"./chunk-VMTUDDZT.js";await o("post");
