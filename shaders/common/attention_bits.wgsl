// What kernels of attention do with scores. Tests by bits, see bits.wgsl.
fn is_undefined(v: f32) -> bool {
    return (bitcast<u32>(v) << 1u) > 0xff000000u;
}

fn is_lowest(v: f32) -> bool {
    return bitcast<u32>(v) >= 0xff800000u && !is_undefined(v);
}

// v, or -∞ where a key is hidden.
fn seen(v: f32, hidden: bool) -> f32 {
    return bitcast<f32>(select(bitcast<u32>(v), 0xff800000u, hidden));
}

// e^(v - top), 0 for -∞, NaN for NaN: drivers differ in their exponentials of infinity and NaN.
fn weight(v: f32, top: f32) -> f32 {
    let d = v - top;
    return select(select(exp(max(d, -200.0)), d, is_undefined(d)), 0.0, is_lowest(v));
}
