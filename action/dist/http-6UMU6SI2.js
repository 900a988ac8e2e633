import{e as a,f as b}from"./chunk-2USLWGIV.js";import"./chunk-V4UW4EKP.js";b();export{a as createHttp};
