import{b as a,c as b,d as c,e as d,f as e}from"./chunk-ZYDG4FLX.js";import"./chunk-JO4ZY7YD.js";e();export{b as createPauses,a as defaultRetryPolicy,c as retry,d as retryAfterMs};
