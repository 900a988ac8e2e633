import{a,b,c}from"./chunk-3NHSWVBS.js";import"./chunk-TG5UUR4M.js";import"./chunk-PQLTCTWU.js";c();export{a as ciTokenSource,b as sigstoreToken};
