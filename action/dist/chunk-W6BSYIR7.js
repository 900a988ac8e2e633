import{c as o}from"./chunk-HAAJZVBR.js";var t=o((i,e)=>{e.exports=process.getBuiltinModule("node:util")});export{t as a};
