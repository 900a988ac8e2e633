import{a as o}from"./chunk-ZSSEYA3M.js";var t=o((i,e)=>{e.exports=process.getBuiltinModule("node:util")});export{t as a};
