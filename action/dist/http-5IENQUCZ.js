import{e as a,f as b}from"./chunk-WKFBF7TJ.js";import"./chunk-VSU5LZU4.js";b();export{a as createHttp};
