import{c as o}from"./chunk-VSU5LZU4.js";var t=o((i,e)=>{e.exports=process.getBuiltinModule("node:util")});export{t as a};
