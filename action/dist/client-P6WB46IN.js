const require = process.getBuiltinModule('node:module').createRequire(import.meta.url);
import{c as a}from"./chunk-ZHEB7ZBZ.js";import"./chunk-PVAMQTCD.js";import"./chunk-4HCXDHUF.js";import"./chunk-QG6XHJ57.js";import"./chunk-RZPFBBOK.js";import"./chunk-Y5BALWZV.js";import"./chunk-QPOVJY4Q.js";import"./chunk-UG4QWSZQ.js";import"./chunk-LTT4YSL5.js";export{a as createRegistryClient};
