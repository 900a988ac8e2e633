import{b as a,c as b,d as c,e as d,f as e}from"./chunk-A3JRTQZ5.js";import"./chunk-VSU5LZU4.js";e();export{b as createPauses,a as defaultRetryPolicy,c as retry,d as retryAfterMs};
