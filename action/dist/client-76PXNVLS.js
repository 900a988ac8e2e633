const require = process.getBuiltinModule('node:module').createRequire(import.meta.url);
import{c as a}from"./chunk-R6DVVBHL.js";import"./chunk-2ZS5LQFL.js";import"./chunk-4HCXDHUF.js";import"./chunk-L5R7ZKJZ.js";import"./chunk-RZPFBBOK.js";import"./chunk-Y5BALWZV.js";import"./chunk-JLXPHHUT.js";import"./chunk-UG4QWSZQ.js";import"./chunk-LTT4YSL5.js";export{a as createRegistryClient};
