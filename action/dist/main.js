import{L as i}from"./chunk-ZHZA7WKS.js";await i("main");
