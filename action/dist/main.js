import{L as i}from"./chunk-GJCGVAFY.js";await i("main");
