import{ga as i,ha as m}from"./chunk-PQLTCTWU.js";m();m();await i("main");
