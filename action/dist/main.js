import{K as i}from"./chunk-CVQFC2O2.js";await i("main");
