import{c as o}from"./chunk-WEFR5JX7.js";var t=o((p,e)=>{e.exports=process.getBuiltinModule("node:crypto")});export{t as a};
