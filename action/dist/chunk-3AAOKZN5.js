import{a as o}from"./chunk-XBV77W45.js";var t=o((p,e)=>{e.exports=process.getBuiltinModule("node:crypto")});export{t as a};
