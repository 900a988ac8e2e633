import{a,b,c}from"./chunk-WLSLFZZN.js";import"./chunk-GKAFLUGX.js";import"./chunk-GGXYPP2T.js";c();export{a as ciTokenSource,b as sigstoreToken};
