import{a as o}from"./chunk-2NDETJSQ.js";var t=o((i,e)=>{e.exports=process.getBuiltinModule("node:util")});export{t as a};
