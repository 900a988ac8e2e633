import{e as a,f as b}from"./chunk-PMDFLXHS.js";import"./chunk-HAAJZVBR.js";b();export{a as createHttp};
