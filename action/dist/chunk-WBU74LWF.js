import{c as o}from"./chunk-PBW7RL3I.js";var t=o((p,e)=>{e.exports=process.getBuiltinModule("node:crypto")});export{t as a};
