import{L as o}from"./chunk-7P4T55IU.js";await o("post");
