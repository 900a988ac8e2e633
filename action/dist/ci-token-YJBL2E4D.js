import{a,b,c}from"./chunk-MUOPHKIJ.js";import"./chunk-OAJWUD34.js";import"./chunk-5NU3L47H.js";c();export{a as ciTokenSource,b as sigstoreToken};
