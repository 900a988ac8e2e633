import{e as a,f as b}from"./chunk-CKPKWLUD.js";import"./chunk-PBW7RL3I.js";b();export{a as createHttp};
