import{c as s}from"./chunk-5NU3L47H.js";var o=s((i,e)=>{e.exports=process.getBuiltinModule("node:fs/promises")});export{o as a};
