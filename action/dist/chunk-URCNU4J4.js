import{c as s}from"./chunk-MSI5WOJZ.js";var o=s((i,e)=>{e.exports=process.getBuiltinModule("node:fs/promises")});export{o as a};
