import{a as o}from"./chunk-ZSSEYA3M.js";var t=o((p,e)=>{e.exports=process.getBuiltinModule("node:crypto")});export{t as a};
