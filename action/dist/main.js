import{ga as i,ha as m}from"./chunk-VPJMF4RG.js";m();m();await i("main");
