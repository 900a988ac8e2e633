import{a as o}from"./chunk-2NDETJSQ.js";var t=o((p,e)=>{e.exports=process.getBuiltinModule("node:crypto")});export{t as a};
