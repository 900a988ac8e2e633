const require = process.getBuiltinModule('node:module').createRequire(import.meta.url);
import{a}from"./chunk-GNWIUW3X.js";import"./chunk-7RA6W2NG.js";import"./chunk-UAGZQRHD.js";import"./chunk-5SI5C2V7.js";import"./chunk-AN4XT6L2.js";import"./chunk-UHDK2Y3E.js";import"./chunk-LTT4YSL5.js";export{a as github};
