import{c as s}from"./chunk-WEFR5JX7.js";var o=s((i,e)=>{e.exports=process.getBuiltinModule("node:fs/promises")});export{o as a};
