import{a as o}from"./chunk-7P4T55IU.js";var t=o((p,e)=>{e.exports=process.getBuiltinModule("node:crypto")});export{t as a};
