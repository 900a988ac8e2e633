import{L as i}from"./chunk-5TEPBABA.js";await i("main");
