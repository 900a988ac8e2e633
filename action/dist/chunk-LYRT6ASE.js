import{a as s}from"./chunk-ODSGBH7T.js";var o=s((i,e)=>{e.exports=process.getBuiltinModule("node:fs/promises")});export{o as a};
