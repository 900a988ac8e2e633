import{a,b,c}from"./chunk-6WGYEXVT.js";import"./chunk-WZ3ESGGZ.js";import"./chunk-RNXK3OVJ.js";c();export{a as ciTokenSource,b as sigstoreToken};
