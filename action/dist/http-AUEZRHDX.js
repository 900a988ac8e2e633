import{e as a,f as b}from"./chunk-UPYEAR6L.js";import"./chunk-GGXYPP2T.js";b();export{a as createHttp};
