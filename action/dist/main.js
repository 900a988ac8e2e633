import{L as i}from"./chunk-6KA3PHYV.js";await i("main");
