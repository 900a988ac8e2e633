import{L as i}from"./chunk-7P4T55IU.js";await i("main");
