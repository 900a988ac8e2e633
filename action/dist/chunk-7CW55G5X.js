import{a as s}from"./chunk-GJCGVAFY.js";var o=s((i,e)=>{e.exports=process.getBuiltinModule("node:fs/promises")});export{o as a};
