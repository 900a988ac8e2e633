import{c as o}from"./chunk-PQLTCTWU.js";var t=o((p,e)=>{e.exports=process.getBuiltinModule("node:crypto")});export{t as a};
