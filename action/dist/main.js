import{L as i}from"./chunk-WRJ7ZDWJ.js";await i("main");
