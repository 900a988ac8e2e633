import{a,b,c}from"./chunk-RNVGQYJO.js";import"./chunk-Z3S36NUI.js";import"./chunk-YCXZK23V.js";c();export{a as ciTokenSource,b as sigstoreToken};
