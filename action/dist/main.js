import{L as i}from"./chunk-2NDETJSQ.js";await i("main");
