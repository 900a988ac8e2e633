import{a as o}from"./chunk-WRJ7ZDWJ.js";var t=o((i,e)=>{e.exports=process.getBuiltinModule("node:util")});export{t as a};
