import{c as s}from"./chunk-JO4ZY7YD.js";var o=s((i,e)=>{e.exports=process.getBuiltinModule("node:fs/promises")});export{o as a};
