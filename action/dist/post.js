const require = process.getBuiltinModule('node:module').createRequire(import.meta.url);
import{a as o}from"./chunk-I5OXRW3L.js";import"./chunk-SLDGA5OB.js";import"./chunk-5SI5C2V7.js";import"./chunk-T44WWRGV.js";import"./chunk-LTT4YSL5.js";await o("post");
