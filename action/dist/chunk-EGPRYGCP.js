import{c as o}from"./chunk-JV4H2BR7.js";var t=o((p,e)=>{e.exports=process.getBuiltinModule("node:crypto")});export{t as a};
