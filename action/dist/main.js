import{ga as i,ha as m}from"./chunk-RNXK3OVJ.js";m();m();await i("main");
