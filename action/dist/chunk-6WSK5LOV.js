import{c as o}from"./chunk-5NU3L47H.js";var t=o((i,e)=>{e.exports=process.getBuiltinModule("node:util")});export{t as a};
