import{b as a,c as b,d as c,e as d,f as e}from"./chunk-VGHKZRPH.js";import"./chunk-7OPI5325.js";e();export{b as createPauses,a as defaultRetryPolicy,c as retry,d as retryAfterMs};
