import{c as o}from"./chunk-PBW7RL3I.js";var t=o((i,e)=>{e.exports=process.getBuiltinModule("node:util")});export{t as a};
