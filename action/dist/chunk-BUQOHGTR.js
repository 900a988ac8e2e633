import{a as s}from"./chunk-5TEPBABA.js";var o=s((i,e)=>{e.exports=process.getBuiltinModule("node:fs/promises")});export{o as a};
