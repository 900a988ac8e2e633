import{c as o}from"./chunk-5NU3L47H.js";var t=o((p,e)=>{e.exports=process.getBuiltinModule("node:crypto")});export{t as a};
