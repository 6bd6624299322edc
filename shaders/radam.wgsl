// RAdam (PyTorch): m and v as Adam's; p -= lr'·m / (√v + eps), or lr'·m while the variance of v is unknown; lr' from the host.
fn update(i: u32, c: Coefficients, p: vec4<f32>, g: vec4<f32>) -> vec4<f32> {
    let m = c.beta1 * exp_avg[i] + c.one_minus_beta1 * g;
    let v = c.beta2 * exp_avg_sq[i] + c.one_minus_beta2 * g * g;
    exp_avg[i] = m;
    exp_avg_sq[i] = v;
    return p - c.lr * select(m, m / (sqrt(v) + c.eps), c.extra != 0.0);
}
