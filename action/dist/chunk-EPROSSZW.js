import{a as o}from"./chunk-V6IZD6LT.js";var t=o((i,e)=>{e.exports=process.getBuiltinModule("node:util")});export{t as a};
