import{ga as i,ha as m}from"./chunk-WEFR5JX7.js";m();m();await i("main");
