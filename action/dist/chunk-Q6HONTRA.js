import{a as o}from"./chunk-V6IZD6LT.js";var t=o((p,e)=>{e.exports=process.getBuiltinModule("node:crypto")});export{t as a};
