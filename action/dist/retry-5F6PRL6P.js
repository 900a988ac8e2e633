import{b as a,c as b,d as c,e as d,f as e}from"./chunk-UQDSCMR7.js";import"./chunk-D7GNXJPC.js";e();export{b as createPauses,a as defaultRetryPolicy,c as retry,d as retryAfterMs};
