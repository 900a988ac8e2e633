import{c as o}from"./chunk-GGXYPP2T.js";var t=o((i,e)=>{e.exports=process.getBuiltinModule("node:util")});export{t as a};
