// Sums of squares over the workgroup, two at once, in a fixed order; they neither overflow nor underflow. Each is a pair (e, s),
// which means s · 4^(e - 127), with s as bits: e is 0 for an empty sum, 255 for ∞ and 256 for NaN.
fn squares_of(v: vec4<f32>) -> vec2<u32> {
    let bits = bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu);
    let top = max(max(bits.x, bits.y), max(bits.z, bits.w));
    if (top >= 0x7f800000u) {
        return vec2<u32>(select(255u, 256u, top > 0x7f800000u), 0u);
    }
    // |v| * 2^(127 - e), by bits: compilers would square v first, which overflows. Subnormal numbers count as 0, and what is too small
    // for its square to count.
    let e = min(top >> 23u, 253u);
    let least = vec4<u32>((max(e, 101u) - 100u) << 23u);
    let r = bitcast<vec4<f32>>(select(vec4<u32>(), bits + vec4<u32>((127u - e) << 23u), bits >= least));
    return select(vec2<u32>(), vec2<u32>(e, bitcast<u32>(dot(r, r))), e > 0u);
}

fn in_units(a: vec2<u32>, e: u32) -> f32 {
    return bitcast<f32>(a.y) * bitcast<f32>((127u - min(2u * (e - a.x), 127u)) << 23u);
}

fn joined(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let e = max(a.x, b.x);
    return vec2<u32>(e, bitcast<u32>(in_units(a, e) + in_units(b, e)));
}

fn root_of(a: vec2<u32>) -> f32 {
    let root = sqrt(bitcast<f32>(a.y)) * bitcast<f32>(min(a.x, 254u) << 23u);
    let special = select(0x7f800000u, 0x7fc00000u, a.x == 256u);
    return bitcast<f32>(select(bitcast<u32>(root), special, a.x >= 255u));
}

var<workgroup> folded: array<vec4<u32>, 256>;
fn fold(lane: u32, own: vec4<u32>) {
    folded[lane] = own;
    for (var half = 128u; half > 0u; half = half >> 1u) {
        workgroupBarrier();
        if (lane < half) {
            let a = folded[lane];
            let b = folded[lane + half];
            folded[lane] = vec4<u32>(joined(a.xy, b.xy), joined(a.zw, b.zw));
        }
    }
    workgroupBarrier();
}
