const require = process.getBuiltinModule('node:module').createRequire(import.meta.url);
function i(r){return{offset:r,keys:new Map,children:new Map}}function s(r,n){let e=r.slice(0,n),t=e.lastIndexOf(`
`),u=1;for(let o=e.indexOf(`
`);o!==-1;o=e.indexOf(`
`,o+1))u++;return{line:u,column:n-t}}function f(r){return r.map((n,e)=>typeof n=="number"?`[${n}]`:`${e===0?"":"."}${l(String(n))}`).join("")}function l(r,n=60){let e=r.replaceAll(a,"\uFFFD").replaceAll(/\s/g," ");return e.length>n?`${e.slice(0,n)}\u2026`:e}var a=/[\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F-\u009F\u061C\u200E\u200F\u2028-\u202E\u2066-\u2069\uFEFF]|[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g;function d(r,n){let e=[];for(let t of r.matchAll(a)){if(e.length===n)break;e.push({offset:t.index,character:`U+${(t[0].codePointAt(0)??0).toString(16).toUpperCase().padStart(4,"0")}`})}return e}export{i as a,s as b,f as c,l as d,d as e};
