const require = process.getBuiltinModule('node:module').createRequire(import.meta.url);
import{a,b,c}from"./chunk-AY2P6XOG.js";import"./chunk-VH6MOAK5.js";import"./chunk-KSBIG4YD.js";import"./chunk-YAEL2POB.js";import"./chunk-UG4QWSZQ.js";import"./chunk-LTT4YSL5.js";export{a as openSession,b as repositoryName,c as workflowFileName};
