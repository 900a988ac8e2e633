import{b as a,c as b,d as c,e as d,f as e}from"./chunk-Z5USUBK4.js";import"./chunk-JV4H2BR7.js";e();export{b as createPauses,a as defaultRetryPolicy,c as retry,d as retryAfterMs};
