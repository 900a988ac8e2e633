import{b as a,c as b,d as c,e as d,f as e}from"./chunk-EWXWTB36.js";import"./chunk-WEFR5JX7.js";e();export{b as createPauses,a as defaultRetryPolicy,c as retry,d as retryAfterMs};
