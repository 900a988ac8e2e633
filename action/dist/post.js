import{L as o}from"./chunk-WRJ7ZDWJ.js";await o("post");
