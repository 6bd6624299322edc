// Activations that neither overflow nor lose small results.

fn sigmoid_f32(x: f32) -> f32 {
    let e = exp_f32(-abs(x));
    return select(e, 1.0, x >= 0.0) / (1.0 + e);
}

fn softplus_f32(x: f32) -> f32 {
    return or_nan_f32(max(x, 0.0) + log1p_f32(exp_f32(-abs(x))), x);
}
