// What kernels over rows share: numbers that may be infinite or NaN. Tests by bits, see bits.wgsl.
fn is_undefined(v: f32) -> bool {
    return (bitcast<u32>(v) << 1u) > 0xff000000u;
}

fn is_lowest(v: f32) -> bool {
    return bitcast<u32>(v) >= 0xff800000u && !is_undefined(v);
}

// Whether the sum is that of a row of only -∞.
fn is_dead(sum: f32) -> bool {
    return sum == 0.0 && !is_undefined(sum);
}

// e^(v - top), 0 for -∞, NaN for NaN: drivers differ in their exponentials and logarithms of infinity and NaN.
fn shifted_exp(v: f32, top: f32) -> f32 {
    let d = v - top;
    return select(select(exp(d), d, is_undefined(d)), 0.0, is_lowest(v));
}

// ln sum; NaN for NaN.
fn log_of_sum(sum: f32) -> f32 {
    return select(log(sum), sum, is_undefined(sum));
}

// A sum of e^(x - was) as one of e^(x - top).
fn rescaled(sum: f32, was: f32, top: f32) -> f32 {
    return select(sum * shifted_exp(was, top), sum, is_undefined(sum));
}

// v - top - rest, the logarithm of e^(v - top) / e^rest; -∞ stays -∞. `rest` is kept apart from the maximum: added to it, it may be
// lost. `zero` is a 0 that compilers do not know, which keeps them from adding the two.
fn log_share(v: f32, top: f32, rest: f32, dead: bool, zero: u32) -> f32 {
    let below = bitcast<f32>(bitcast<u32>(v - top) ^ zero);
    return select(below - rest, v, dead || (is_lowest(v) && !is_undefined(rest)));
}
