import{a,b,c}from"./chunk-73YQ3Y6T.js";import"./chunk-UQDSCMR7.js";import"./chunk-D7GNXJPC.js";c();export{a as ciTokenSource,b as sigstoreToken};
