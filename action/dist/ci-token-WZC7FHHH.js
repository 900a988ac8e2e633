import{a,b,c}from"./chunk-DXXHWPQV.js";import"./chunk-EWXWTB36.js";import"./chunk-WEFR5JX7.js";c();export{a as ciTokenSource,b as sigstoreToken};
