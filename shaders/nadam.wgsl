// NAdam (PyTorch): m and v as Adam's; p -= (lr₁·g + lr₂·m) / (√v · c + eps), with both rates from the host.
fn update(i: u32, c: Coefficients, p: vec4<f32>, g: vec4<f32>) -> vec4<f32> {
    let m = c.beta1 * exp_avg[i] + c.one_minus_beta1 * g;
    let v = c.beta2 * exp_avg_sq[i] + c.one_minus_beta2 * g * g;
    exp_avg[i] = m;
    exp_avg_sq[i] = v;
    return p - (c.lr * g + c.extra * m) / (sqrt(v) * c.inv_sqrt_bias2 + c.eps);
}
