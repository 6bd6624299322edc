// LAMB (You et al., 2020): m = β₁·m + (1 - β₁)·g; v = β₂·v + (1 - β₂)·g²; the direction
// d = m / (1 - β₁ᵗ) / (√(v / (1 - β₂ᵗ)) + eps) + decay·p; p -= lr · ‖p‖ / ‖d‖ · d. `update` returns d; a step takes three
// kernels.
fn direction(i: u32, c: Coefficients, p: vec4<f32>) -> vec4<f32> {
    return exp_avg[i] * c.extra / (sqrt(exp_avg_sq[i]) * c.inv_sqrt_bias2 + c.eps) + c.decay * p;
}

fn update(i: u32, c: Coefficients, p: vec4<f32>, g: vec4<f32>) -> vec4<f32> {
    exp_avg[i] = c.beta1 * exp_avg[i] + c.one_minus_beta1 * g;
    exp_avg_sq[i] = c.beta2 * exp_avg_sq[i] + c.one_minus_beta2 * g * g;
    return direction(i, c, p);
}
