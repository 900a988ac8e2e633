const require = process.getBuiltinModule('node:module').createRequire(import.meta.url);
import{a as o}from"./chunk-QYKHGLIY.js";import"./chunk-XIA7A3PJ.js";import"./chunk-5SI5C2V7.js";import"./chunk-UHDK2Y3E.js";import"./chunk-LTT4YSL5.js";await o("post");
