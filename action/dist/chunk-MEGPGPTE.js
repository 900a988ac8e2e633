import{c as o}from"./chunk-V4UW4EKP.js";var t=o((p,e)=>{e.exports=process.getBuiltinModule("node:crypto")});export{t as a};
