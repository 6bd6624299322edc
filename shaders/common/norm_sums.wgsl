var<workgroup> sums_a: array<f32, ${SIZE}>;
var<workgroup> more_a: array<f32, ${SIZE}>;
#if ${PAIR}
var<workgroup> sums_b: array<f32, ${SIZE}>;
var<workgroup> more_b: array<f32, ${SIZE}>;
#end
#import norm_total
