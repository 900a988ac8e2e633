const require = process.getBuiltinModule('node:module').createRequire(import.meta.url);
import{a,b}from"./chunk-G2RQB6VR.js";import"./chunk-YAEL2POB.js";import"./chunk-UG4QWSZQ.js";import"./chunk-LTT4YSL5.js";export{b as createApi,a as defaultRetryBudgetMs};
