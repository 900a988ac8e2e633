import{a as o}from"./chunk-3BKBWOTB.js";var t=o((p,e)=>{e.exports=process.getBuiltinModule("node:crypto")});export{t as a};
