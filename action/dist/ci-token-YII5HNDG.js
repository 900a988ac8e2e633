import{a,b,c}from"./chunk-QXB6AKR2.js";import"./chunk-GTKC4EYL.js";import"./chunk-H5SCVGJK.js";c();export{a as ciTokenSource,b as sigstoreToken};
