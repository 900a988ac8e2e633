import{a,b,c}from"./chunk-NX3E2ETK.js";import"./chunk-OBBNELJD.js";import"./chunk-VPJMF4RG.js";c();export{a as ciTokenSource,b as sigstoreToken};
