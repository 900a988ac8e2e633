import{c as s}from"./chunk-D7GNXJPC.js";var o=s((i,e)=>{e.exports=process.getBuiltinModule("node:fs/promises")});export{o as a};
