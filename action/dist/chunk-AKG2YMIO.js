import{c as o}from"./chunk-CDELXCIZ.js";var t=o((i,e)=>{e.exports=process.getBuiltinModule("node:util")});export{t as a};
