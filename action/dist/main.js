import{K as i}from"./chunk-E6UWHPIV.js";await i("main");
