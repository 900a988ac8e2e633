import{K as i}from"./chunk-VMTUDDZT.js";await i("main");
