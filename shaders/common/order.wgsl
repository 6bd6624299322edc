// The smaller and the larger of two numbers; NaN if either is.

fn minimum_f32(a: f32, b: f32) -> f32 {
    return select(select(min(a, b), b, is_nan_f32(b)), a, is_nan_f32(a));
}

fn maximum_f32(a: f32, b: f32) -> f32 {
    return select(select(max(a, b), b, is_nan_f32(b)), a, is_nan_f32(a));
}
