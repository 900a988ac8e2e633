import{a,b,c}from"./chunk-ECRAODM3.js";import"./chunk-NCUUZKDD.js";import"./chunk-IKMZGVQP.js";c();export{a as ciTokenSource,b as sigstoreToken};
