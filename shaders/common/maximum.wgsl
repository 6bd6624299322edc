// Tests on bits: WGSL may assume that there is no NaN.
fn is_nan(v: f32) -> bool {
    return (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u;
}

// Whether v takes the maximum from `best`, which comes before it: NaN wins, and of equal elements the first is kept.
fn beats(v: f32, best: f32) -> bool {
    return !is_nan(best) && (is_nan(v) || v > best);
}
