import{c as o}from"./chunk-H5SCVGJK.js";var t=o((p,e)=>{e.exports=process.getBuiltinModule("node:crypto")});export{t as a};
