import{ia as i,ja as m}from"./chunk-JO4ZY7YD.js";m();m();await i("main");
