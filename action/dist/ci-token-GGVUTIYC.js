import{a,b,c}from"./chunk-AN6VKGEH.js";import"./chunk-Z5USUBK4.js";import"./chunk-JV4H2BR7.js";c();export{a as ciTokenSource,b as sigstoreToken};
