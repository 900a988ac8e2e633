import{ga as i,ha as m}from"./chunk-YCXZK23V.js";m();m();await i("main");
