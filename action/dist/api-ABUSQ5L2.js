const require = process.getBuiltinModule('node:module').createRequire(import.meta.url);
import{a,b}from"./chunk-42M67XFE.js";import"./chunk-JLXPHHUT.js";import"./chunk-UG4QWSZQ.js";import"./chunk-LTT4YSL5.js";export{b as createApi,a as defaultRetryBudgetMs};
