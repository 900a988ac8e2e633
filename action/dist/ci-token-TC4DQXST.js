import{a,b,c}from"./chunk-MK4IPPSP.js";import"./chunk-6FIWCSEI.js";import"./chunk-6J6FD6US.js";c();export{a as ciTokenSource,b as sigstoreToken};
