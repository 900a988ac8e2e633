import{a as s}from"./chunk-JEWHH7TL.js";var o=s((i,e)=>{e.exports=process.getBuiltinModule("node:fs/promises")});export{o as a};
