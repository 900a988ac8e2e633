import{L as o}from"./chunk-GJCGVAFY.js";await o("post");
