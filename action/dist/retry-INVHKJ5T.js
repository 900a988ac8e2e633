import{b as a,c as b,d as c,e as d,f as e}from"./chunk-6FIWCSEI.js";import"./chunk-6J6FD6US.js";e();export{b as createPauses,a as defaultRetryPolicy,c as retry,d as retryAfterMs};
