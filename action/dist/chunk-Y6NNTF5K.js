import{c as s}from"./chunk-V4UW4EKP.js";var o=s((i,e)=>{e.exports=process.getBuiltinModule("node:fs/promises")});export{o as a};
