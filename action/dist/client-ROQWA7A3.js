const require = process.getBuiltinModule('node:module').createRequire(import.meta.url);
import{c as a}from"./chunk-ONE2NBDC.js";import"./chunk-CG23UI6E.js";import"./chunk-4HCXDHUF.js";import"./chunk-KSBIG4YD.js";import"./chunk-RZPFBBOK.js";import"./chunk-Y5BALWZV.js";import"./chunk-YAEL2POB.js";import"./chunk-UG4QWSZQ.js";import"./chunk-LTT4YSL5.js";export{a as createRegistryClient};
