import{a as o}from"./chunk-E6UWHPIV.js";var t=o((p,e)=>{e.exports=process.getBuiltinModule("node:crypto")});export{t as a};
