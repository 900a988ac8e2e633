import{a,b,c}from"./chunk-YX5Y67X6.js";import"./chunk-5TWT2LWS.js";import"./chunk-HAAJZVBR.js";c();export{a as ciTokenSource,b as sigstoreToken};
