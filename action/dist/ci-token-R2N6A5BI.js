import{a,b,c}from"./chunk-6DVHRC6Q.js";import"./chunk-ZYDG4FLX.js";import"./chunk-JO4ZY7YD.js";c();export{a as ciTokenSource,b as sigstoreToken};
