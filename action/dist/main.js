import{L as i}from"./chunk-FX3RWMMZ.js";await i("main");
