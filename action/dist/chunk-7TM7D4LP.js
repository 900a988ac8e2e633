import{a as o}from"./chunk-TEARXOKL.js";var t=o((i,e)=>{e.exports=process.getBuiltinModule("node:util")});export{t as a};
