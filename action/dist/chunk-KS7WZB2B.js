import{c as o}from"./chunk-JO4ZY7YD.js";var t=o((p,e)=>{e.exports=process.getBuiltinModule("node:crypto")});export{t as a};
