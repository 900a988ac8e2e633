import{e as a,f as b}from"./chunk-XSILEONX.js";import"./chunk-PQLTCTWU.js";b();export{a as createHttp};
