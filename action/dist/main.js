import{ia as i,ja as m}from"./chunk-PBW7RL3I.js";m();m();await i("main");
