import{ia as i,ja as m}from"./chunk-GGXYPP2T.js";m();m();await i("main");
