import{c as o}from"./chunk-GGXYPP2T.js";var t=o((p,e)=>{e.exports=process.getBuiltinModule("node:crypto")});export{t as a};
