import{L as i}from"./chunk-TEARXOKL.js";await i("main");
