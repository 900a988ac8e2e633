import{b as r}from"./chunk-D7GNXJPC.js";function u(n){try{return JSON.parse(typeof n=="string"?n:Buffer.from(n).toString("utf8"))}catch{return}}var t=r(()=>{"use strict"});export{u as a,t as b};
