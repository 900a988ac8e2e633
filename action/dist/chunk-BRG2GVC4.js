import{c as o}from"./chunk-D7GNXJPC.js";var t=o((i,e)=>{e.exports=process.getBuiltinModule("node:util")});export{t as a};
