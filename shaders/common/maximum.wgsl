// On bits, see bits.wgsl.
fn is_nan(v: f32) -> bool {
    return (bitcast<u32>(v) << 1u) > 0xff000000u;
}

// Whether v takes the maximum from `best`, which comes before it: NaN wins, and of equal elements the first is kept.
fn beats(v: f32, best: f32) -> bool {
    return !is_nan(best) && (is_nan(v) || v > best);
}
