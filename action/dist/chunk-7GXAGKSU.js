<<<<<<<< HEAD:action/dist/chunk-ITG255PJ.js
import{a as s}from"./chunk-TEARXOKL.js";var o=s((i,e)=>{e.exports=process.getBuiltinModule("node:fs/promises")});export{o as a};
========
import{a as s}from"./chunk-V6IZD6LT.js";var o=s((i,e)=>{e.exports=process.getBuiltinModule("node:fs/promises")});export{o as a};
>>>>>>>> bc44a6e (action: build the bundle again):action/dist/chunk-7GXAGKSU.js
