import{c as o}from"./chunk-6J6FD6US.js";var t=o((p,e)=>{e.exports=process.getBuiltinModule("node:crypto")});export{t as a};
