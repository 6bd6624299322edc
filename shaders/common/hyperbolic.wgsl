// Hyperbolic functions through e^x - 1, without overflow before the result overflows.

fn sinh_f32(x: f32) -> f32 {
    let a = abs(x);
    let t = expm1_f32(min(a, 60.0));
    let y = select(0.5 * (t + t / (t + 1.0)), scaled_exp_f32(a, -1), a > 60.0);
    return or_nan_f32(select(y, -y, x < 0.0), x);
}

fn cosh_f32(x: f32) -> f32 {
    let half = scaled_exp_f32(abs(x), -1);
    return half + 0.25 / half;
}

fn tanh_f32(x: f32) -> f32 {
    let a = min(abs(x), 20.0);
    let t = expm1_f32(-2.0 * a);
    // Beyond, the result is 1, but not every quotient of equal numbers is.
    let y = select(-t / (t + 2.0), 1.0, a > 9.02);
    return or_nan_f32(select(y, -y, x < 0.0), x);
}
