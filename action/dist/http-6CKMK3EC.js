import{e as a,f as b}from"./chunk-PIPQQ3H6.js";import"./chunk-D7GNXJPC.js";b();export{a as createHttp};
