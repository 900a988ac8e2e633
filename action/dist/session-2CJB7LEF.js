const require = process.getBuiltinModule('node:module').createRequire(import.meta.url);
import{a,b,c}from"./chunk-SWXYBS4K.js";import"./chunk-VH6MOAK5.js";import"./chunk-QG6XHJ57.js";import"./chunk-QPOVJY4Q.js";import"./chunk-UG4QWSZQ.js";import"./chunk-LTT4YSL5.js";export{a as openSession,b as repositoryName,c as workflowFileName};
