// The order of numbers, of which NaN has no part: it is compared by bits, since compilers may take `a < b` for `!(a >= b)`.

// The smaller, or NaN if either is.
fn minimum_f32(a: f32, b: f32) -> f32 {
    return or_nan_f32(or_nan_f32(min(a, b), b), a);
}

// The larger, or NaN if either is.
fn maximum_f32(a: f32, b: f32) -> f32 {
    return or_nan_f32(or_nan_f32(max(a, b), b), a);
}
