import{e as a,f as b}from"./chunk-JDIXODJV.js";import"./chunk-MSI5WOJZ.js";b();export{a as createHttp};
