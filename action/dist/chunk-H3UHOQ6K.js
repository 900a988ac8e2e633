import{a as o}from"./chunk-PN4422TD.js";var t=o((i,e)=>{e.exports=process.getBuiltinModule("node:util")});export{t as a};
