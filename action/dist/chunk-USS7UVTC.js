import{c as s}from"./chunk-PBW7RL3I.js";var o=s((i,e)=>{e.exports=process.getBuiltinModule("node:fs/promises")});export{o as a};
