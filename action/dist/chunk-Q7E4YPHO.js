import{a as o}from"./chunk-GJCGVAFY.js";var t=o((p,e)=>{e.exports=process.getBuiltinModule("node:crypto")});export{t as a};
