import{b as a,c as b,d as c,e as d,f as e}from"./chunk-W4VO3MST.js";import"./chunk-MSI5WOJZ.js";e();export{b as createPauses,a as defaultRetryPolicy,c as retry,d as retryAfterMs};
