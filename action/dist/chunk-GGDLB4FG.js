import{a as o}from"./chunk-XBV77W45.js";var t=o((i,e)=>{e.exports=process.getBuiltinModule("node:util")});export{t as a};
