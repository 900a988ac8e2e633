import{ga as i,ha as m}from"./chunk-5NU3L47H.js";m();m();await i("main");
