import{ga as i,ha as m}from"./chunk-HAAJZVBR.js";m();m();await i("main");
