import{ga as i,ha as m}from"./chunk-IKMZGVQP.js";m();m();await i("main");
