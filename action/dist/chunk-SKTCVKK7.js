import{c as o}from"./chunk-H5SCVGJK.js";var t=o((i,e)=>{e.exports=process.getBuiltinModule("node:util")});export{t as a};
