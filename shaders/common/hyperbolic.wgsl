// Hyperbolic functions through e^x - 1, without overflow before the result overflows.

fn sinh_f32(x: f32) -> f32 {
    let a = abs(x);
    let t = expm1_f32(min(a, 60.0));
    let h = exp_f32(0.5 * a);
    let y = select(0.5 * (t + t / (t + 1.0)), 0.5 * h * h, a > 60.0);
    return select(select(y, -y, x < 0.0), x, is_nan_f32(x));
}

fn cosh_f32(x: f32) -> f32 {
    let h = exp_f32(0.5 * abs(x));
    let e = h * h;
    return select(0.5 * (e + 1.0 / e), 0.5 * h * h, abs(x) > 60.0);
}

fn tanh_f32(x: f32) -> f32 {
    let a = min(abs(x), 20.0);
    let t = expm1_f32(-2.0 * a);
    let y = -t / (t + 2.0);
    return select(select(y, -y, x < 0.0), x, is_nan_f32(x));
}
