import{b as a,c as b,d as c,e as d,f as e}from"./chunk-HVCD5KUL.js";import"./chunk-PBW7RL3I.js";e();export{b as createPauses,a as defaultRetryPolicy,c as retry,d as retryAfterMs};
