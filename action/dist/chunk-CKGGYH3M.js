import{c as s}from"./chunk-VSU5LZU4.js";var o=s((i,e)=>{e.exports=process.getBuiltinModule("node:fs/promises")});export{o as a};
