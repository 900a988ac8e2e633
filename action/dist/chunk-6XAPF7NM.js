import{c as o}from"./chunk-7OPI5325.js";var t=o((p,e)=>{e.exports=process.getBuiltinModule("node:crypto")});export{t as a};
