import{b as a,c as b,d as c,e as d,f as e}from"./chunk-ANN4LKT6.js";import"./chunk-V4UW4EKP.js";e();export{b as createPauses,a as defaultRetryPolicy,c as retry,d as retryAfterMs};
