import{c as o}from"./chunk-JO4ZY7YD.js";var t=o((i,e)=>{e.exports=process.getBuiltinModule("node:util")});export{t as a};
