import{a as o}from"./chunk-ZHZA7WKS.js";var t=o((i,e)=>{e.exports=process.getBuiltinModule("node:util")});export{t as a};
