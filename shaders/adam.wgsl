// Adam, AdamW, AMSGrad (PyTorch): m = β₁·m + (1 - β₁)·g; v = β₂·v + (1 - β₂)·g²;
// p -= lr' · m / (√v · c + eps), lr' = lr / (1 - β₁ᵗ), c = 1 / √(1 - β₂ᵗ); AMSGrad takes the largest v so far.
fn update(i: u32, c: Coefficients, p: vec4<f32>, g: vec4<f32>) -> vec4<f32> {
    let m = c.beta1 * exp_avg[i] + c.one_minus_beta1 * g;
    let v = c.beta2 * exp_avg_sq[i] + c.one_minus_beta2 * g * g;
    exp_avg[i] = m;
    exp_avg_sq[i] = v;
#if ${AMSGRAD}
    let second = max(max_exp_avg_sq[i], v);
    max_exp_avg_sq[i] = second;
#else
    let second = v;
#end
    return p - c.lr * m / (sqrt(second) * c.inv_sqrt_bias2 + c.eps);
}
