import{L as i}from"./chunk-3BKBWOTB.js";await i("main");
