<<<<<<<< HEAD:action/dist/chunk-BDEYPVQH.js
import{a as s}from"./chunk-XCXPLIS4.js";var o=s((i,e)=>{e.exports=process.getBuiltinModule("node:fs/promises")});export{o as a};
========
import{a as s}from"./chunk-ZSSEYA3M.js";var o=s((i,e)=>{e.exports=process.getBuiltinModule("node:fs/promises")});export{o as a};
>>>>>>>> 9357714 (outbox: what happens after a push is written with it, done by leases, tried again, and shown; links and copies to mirrors):action/dist/chunk-FGPWXMBV.js
