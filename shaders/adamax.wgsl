// Adamax (PyTorch): m = β₁·m + (1 - β₁)·g; u = max(β₂·u, |g| + eps); p -= lr / (1 - β₁ᵗ) · m / u.
fn update(i: u32, c: Coefficients, p: vec4<f32>, g: vec4<f32>) -> vec4<f32> {
    let m = c.beta1 * exp_avg[i] + c.one_minus_beta1 * g;
    let u = max(c.beta2 * exp_inf[i], abs(g) + c.eps);
    exp_avg[i] = m;
    exp_inf[i] = u;
    return p - c.lr * m / u;
}
