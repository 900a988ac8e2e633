import{a,b,c}from"./chunk-PQTIVNBY.js";import"./chunk-HVCD5KUL.js";import"./chunk-PBW7RL3I.js";c();export{a as ciTokenSource,b as sigstoreToken};
