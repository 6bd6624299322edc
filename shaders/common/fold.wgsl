// The sum over the workgroup of each of two numbers, in a fixed order.
var<workgroup> folded: array<vec2<f32>, 256>;
fn fold(lane: u32, own: vec2<f32>) {
    folded[lane] = own;
    for (var half = 128u; half > 0u; half = half >> 1u) {
        workgroupBarrier();
        if (lane < half) {
            folded[lane] += folded[lane + half];
        }
    }
    workgroupBarrier();
}
