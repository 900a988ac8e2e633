import{a as o}from"./chunk-JEWHH7TL.js";var t=o((p,e)=>{e.exports=process.getBuiltinModule("node:crypto")});export{t as a};
