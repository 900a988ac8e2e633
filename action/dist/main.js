import{L as i}from"./chunk-JEWHH7TL.js";await i("main");
