import{a as o}from"./chunk-ZHZA7WKS.js";var t=o((p,e)=>{e.exports=process.getBuiltinModule("node:crypto")});export{t as a};
