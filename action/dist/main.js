const require = process.getBuiltinModule('node:module').createRequire(import.meta.url);
import{a}from"./chunk-SBUVSUQC.js";import"./chunk-QRTNERDN.js";import"./chunk-5SI5C2V7.js";import"./chunk-OB5UNAJI.js";import"./chunk-LTT4YSL5.js";await a("main");
