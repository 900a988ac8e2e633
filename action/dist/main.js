import{ga as i,ha as m}from"./chunk-CDELXCIZ.js";m();m();await i("main");
