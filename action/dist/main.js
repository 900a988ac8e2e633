import{L as i}from"./chunk-XBV77W45.js";await i("main");
