import{L as i}from"./chunk-XCXPLIS4.js";await i("main");
