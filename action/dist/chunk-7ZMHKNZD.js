import{c as o}from"./chunk-JV4H2BR7.js";var t=o((i,e)=>{e.exports=process.getBuiltinModule("node:util")});export{t as a};
