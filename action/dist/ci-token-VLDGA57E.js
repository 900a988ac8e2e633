import{a,b,c}from"./chunk-MCZNUY7S.js";import"./chunk-VGHKZRPH.js";import"./chunk-7OPI5325.js";c();export{a as ciTokenSource,b as sigstoreToken};
