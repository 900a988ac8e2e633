import{a,b,c}from"./chunk-VTTMHPYA.js";import"./chunk-ANN4LKT6.js";import"./chunk-V4UW4EKP.js";c();export{a as ciTokenSource,b as sigstoreToken};
