// Lion (Chen et al., 2023): p -= lr · sign(β₁·m + (1 - β₁)·g); m = β₂·m + (1 - β₂)·g.
fn update(i: u32, c: Coefficients, p: vec4<f32>, g: vec4<f32>) -> vec4<f32> {
    let m = exp_avg[i];
    exp_avg[i] = c.beta2 * m + c.one_minus_beta2 * g;
    return p - c.lr * sign(c.beta1 * m + c.one_minus_beta1 * g);
}
