// The order of numbers, of which NaN has no part: it is compared by bits, since compilers may take `a < b` for `!(a >= b)`.

// The smaller, or NaN if either is.
fn minimum_f32(a: f32, b: f32) -> f32 {
    return or_nan_f32(or_nan_f32(min(a, b), b), a);
}

// The larger, or NaN if either is.
fn maximum_f32(a: f32, b: f32) -> f32 {
    return or_nan_f32(or_nan_f32(max(a, b), b), a);
}

// Whether neither is NaN.
fn ordered_f32(a: f32, b: f32) -> bool {
    return max(bitcast<u32>(a) << 1u, bitcast<u32>(b) << 1u) <= 0xff000000u;
}

// -1, 0 or 1; 0 for NaN.
fn sign_f32(x: f32) -> f32 {
    let bits = bitcast<u32>(x);
    return select(0.0, select(1.0, -1.0, (bits >> 31u) == 1u), (bits & 0x7fffffffu) - 1u < 0x7f800000u);
}
