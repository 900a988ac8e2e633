import{a,b,c}from"./chunk-JJNWVHAE.js";import"./chunk-A3JRTQZ5.js";import"./chunk-VSU5LZU4.js";c();export{a as ciTokenSource,b as sigstoreToken};
