import{a as o}from"./chunk-PN4422TD.js";var t=o((p,e)=>{e.exports=process.getBuiltinModule("node:crypto")});export{t as a};
