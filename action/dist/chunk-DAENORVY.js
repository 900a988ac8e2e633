import{c as o}from"./chunk-WEFR5JX7.js";var t=o((i,e)=>{e.exports=process.getBuiltinModule("node:util")});export{t as a};
