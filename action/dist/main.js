import{L as i}from"./chunk-ODSGBH7T.js";await i("main");
