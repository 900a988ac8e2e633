import{c as o}from"./chunk-D7GNXJPC.js";var t=o((p,e)=>{e.exports=process.getBuiltinModule("node:crypto")});export{t as a};
