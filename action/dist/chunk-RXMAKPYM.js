import{c as o}from"./chunk-MSI5WOJZ.js";var t=o((i,e)=>{e.exports=process.getBuiltinModule("node:util")});export{t as a};
