import{a,b,c}from"./chunk-ADO67RXP.js";import"./chunk-BGOL42BW.js";import"./chunk-CDELXCIZ.js";c();export{a as ciTokenSource,b as sigstoreToken};
