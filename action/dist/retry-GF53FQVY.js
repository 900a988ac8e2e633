import{b as a,c as b,d as c,e as d,f as e}from"./chunk-OAJWUD34.js";import"./chunk-5NU3L47H.js";e();export{b as createPauses,a as defaultRetryPolicy,c as retry,d as retryAfterMs};
