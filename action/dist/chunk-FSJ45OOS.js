import{c as s}from"./chunk-JV4H2BR7.js";var o=s((i,e)=>{e.exports=process.getBuiltinModule("node:fs/promises")});export{o as a};
