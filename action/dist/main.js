import{ia as i,ja as m}from"./chunk-V4UW4EKP.js";m();m();await i("main");
