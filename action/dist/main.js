import{ga as i,ha as m}from"./chunk-7OPI5325.js";m();m();await i("main");
