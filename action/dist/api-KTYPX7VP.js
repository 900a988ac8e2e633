const require = process.getBuiltinModule('node:module').createRequire(import.meta.url);
import{a,b}from"./chunk-4FBDWGPW.js";import"./chunk-QPOVJY4Q.js";import"./chunk-UG4QWSZQ.js";import"./chunk-LTT4YSL5.js";export{b as createApi,a as defaultRetryBudgetMs};
