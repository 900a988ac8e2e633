import{e as a,f as b}from"./chunk-2JRZMMNA.js";import"./chunk-JO4ZY7YD.js";b();export{a as createHttp};
