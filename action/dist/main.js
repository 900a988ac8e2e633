import{ia as i,ja as m}from"./chunk-VSU5LZU4.js";m();m();await i("main");
