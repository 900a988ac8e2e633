import{ia as i,ja as m}from"./chunk-MSI5WOJZ.js";m();m();await i("main");
