import{a as o}from"./chunk-XCXPLIS4.js";var t=o((p,e)=>{e.exports=process.getBuiltinModule("node:crypto")});export{t as a};
