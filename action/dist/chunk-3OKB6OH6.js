import{a as o}from"./chunk-6KA3PHYV.js";var t=o((p,e)=>{e.exports=process.getBuiltinModule("node:crypto")});export{t as a};
