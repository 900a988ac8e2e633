import{ia as i,ja as m}from"./chunk-D7GNXJPC.js";m();m();await i("main");
