import{a as s}from"./chunk-7P4T55IU.js";var o=s((i,e)=>{e.exports=process.getBuiltinModule("node:fs/promises")});export{o as a};
