import{c as o}from"./chunk-7OPI5325.js";var t=o((i,e)=>{e.exports=process.getBuiltinModule("node:util")});export{t as a};
