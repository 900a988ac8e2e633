import{a as s}from"./chunk-ZHZA7WKS.js";var o=s((i,e)=>{e.exports=process.getBuiltinModule("node:fs/promises")});export{o as a};
