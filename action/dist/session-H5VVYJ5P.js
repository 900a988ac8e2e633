const require = process.getBuiltinModule('node:module').createRequire(import.meta.url);
import{a,b,c}from"./chunk-BKQETWR3.js";import"./chunk-VH6MOAK5.js";import"./chunk-L5R7ZKJZ.js";import"./chunk-JLXPHHUT.js";import"./chunk-UG4QWSZQ.js";import"./chunk-LTT4YSL5.js";export{a as openSession,b as repositoryName,c as workflowFileName};
