import{L as i}from"./chunk-PN4422TD.js";await i("main");
