import{a,b,c}from"./chunk-SBNLMIAR.js";import"./chunk-W4VO3MST.js";import"./chunk-MSI5WOJZ.js";c();export{a as ciTokenSource,b as sigstoreToken};
