import{ga as i,ha as m}from"./chunk-6J6FD6US.js";m();m();await i("main");
