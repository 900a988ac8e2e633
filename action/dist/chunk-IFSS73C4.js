import{a as s}from"./chunk-3BKBWOTB.js";var o=s((i,e)=>{e.exports=process.getBuiltinModule("node:fs/promises")});export{o as a};
