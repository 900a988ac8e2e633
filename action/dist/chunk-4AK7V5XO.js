import{c as o}from"./chunk-6J6FD6US.js";var t=o((i,e)=>{e.exports=process.getBuiltinModule("node:util")});export{t as a};
