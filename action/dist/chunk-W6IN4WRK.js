import{c as s}from"./chunk-6J6FD6US.js";var o=s((i,e)=>{e.exports=process.getBuiltinModule("node:fs/promises")});export{o as a};
