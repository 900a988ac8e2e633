import{a as o}from"./chunk-7P4T55IU.js";var t=o((i,e)=>{e.exports=process.getBuiltinModule("node:util")});export{t as a};
