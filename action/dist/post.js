import{L as o}from"./chunk-JEWHH7TL.js";await o("post");
