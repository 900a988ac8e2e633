import{c as o}from"./chunk-VPJMF4RG.js";var t=o((i,e)=>{e.exports=process.getBuiltinModule("node:util")});export{t as a};
