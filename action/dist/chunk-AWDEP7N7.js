import{a as o}from"./chunk-WRJ7ZDWJ.js";var t=o((p,e)=>{e.exports=process.getBuiltinModule("node:crypto")});export{t as a};
