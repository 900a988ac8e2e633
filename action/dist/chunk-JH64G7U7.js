import{c as o}from"./chunk-PQLTCTWU.js";var t=o((i,e)=>{e.exports=process.getBuiltinModule("node:util")});export{t as a};
