import{a as o}from"./chunk-FX3RWMMZ.js";var t=o((p,e)=>{e.exports=process.getBuiltinModule("node:crypto")});export{t as a};
