import{a as o}from"./chunk-ODSGBH7T.js";var t=o((p,e)=>{e.exports=process.getBuiltinModule("node:crypto")});export{t as a};
