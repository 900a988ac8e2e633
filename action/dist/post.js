const require = process.getBuiltinModule('node:module').createRequire(import.meta.url);
import{a as o}from"./chunk-MWD4KBBW.js";import"./chunk-N5EXUFHL.js";import"./chunk-5SI5C2V7.js";import"./chunk-OB5UNAJI.js";import"./chunk-LTT4YSL5.js";await o("post");
