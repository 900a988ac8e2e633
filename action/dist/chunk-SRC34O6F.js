const require = process.getBuiltinModule('node:module').createRequire(import.meta.url);
function e(n,r){return typeof n=="object"&&n!==null&&Object.hasOwn(n,r)?Reflect.get(n,r):void 0}function o(n){return Array.isArray(n)?n:[]}export{e as a,o as b};
