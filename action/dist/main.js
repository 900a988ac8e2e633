const require = process.getBuiltinModule('node:module').createRequire(import.meta.url);
import{a}from"./chunk-5NHIPNMY.js";import"./chunk-TN5WB3IW.js";import"./chunk-5SI5C2V7.js";import"./chunk-LVE4EQBU.js";import"./chunk-LTT4YSL5.js";await a("main");
