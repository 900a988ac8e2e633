import{ga as i,ha as m}from"./chunk-H5SCVGJK.js";m();m();await i("main");
