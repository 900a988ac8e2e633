import{c as o}from"./chunk-V4UW4EKP.js";var t=o((i,e)=>{e.exports=process.getBuiltinModule("node:util")});export{t as a};
