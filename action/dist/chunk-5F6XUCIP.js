import{c as o}from"./chunk-MSI5WOJZ.js";var t=o((p,e)=>{e.exports=process.getBuiltinModule("node:crypto")});export{t as a};
