import{a as o}from"./chunk-GJCGVAFY.js";var t=o((i,e)=>{e.exports=process.getBuiltinModule("node:util")});export{t as a};
