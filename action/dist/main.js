import{ga as i,ha as m}from"./chunk-JV4H2BR7.js";m();m();await i("main");
