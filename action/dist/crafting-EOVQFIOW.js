const require = process.getBuiltinModule('node:module').createRequire(import.meta.url);
import{a,b,c,d,e,f,g}from"./chunk-OBBSHJIB.js";import"./chunk-VH6MOAK5.js";import"./chunk-Y5BALWZV.js";import"./chunk-UG4QWSZQ.js";import"./chunk-LTT4YSL5.js";export{g as builderId,b as controlPlaneOf,f as directoryOf,c as evidenceOf,d as imagesOf,a as openStore,e as signerOf};
