// AdaDelta (PyTorch): v = ρ·v + (1 - ρ)·g²; d = √(u + eps) / √(v + eps) · g; u = ρ·u + (1 - ρ)·d²; p -= lr·d.
fn update(i: u32, c: Coefficients, p: vec4<f32>, g: vec4<f32>) -> vec4<f32> {
    let v = c.beta2 * square_avg[i] + c.one_minus_beta2 * g * g;
    let u = acc_delta[i];
    let d = sqrt(u + c.eps) / sqrt(v + c.eps) * g;
    square_avg[i] = v;
    acc_delta[i] = c.beta2 * u + c.one_minus_beta2 * d * d;
    return p - c.lr * d;
}
