// RMSprop (PyTorch): v = α·v + (1 - α)·g²; d = √v + eps, centred √(v - a²) + eps with a = α·a + (1 - α)·g;
// p -= lr·g/d, with momentum b = μ·b + g/d; p -= lr·b.
fn update(i: u32, c: Coefficients, p: vec4<f32>, g: vec4<f32>) -> vec4<f32> {
    let v = c.beta2 * square_avg[i] + c.one_minus_beta2 * g * g;
    square_avg[i] = v;
#if ${CENTERED}
    let mean = c.beta2 * grad_avg[i] + c.one_minus_beta2 * g;
    grad_avg[i] = mean;
    // Rounding may take the difference below 0.
    let scaled = g / (sqrt(max(v - mean * mean, vec4<f32>())) + c.eps);
#else
    let scaled = g / (sqrt(v) + c.eps);
#end
#if ${MOMENTUM}
    let step = c.beta1 * momentum_buffer[i] + scaled;
    momentum_buffer[i] = step;
#else
    let step = scaled;
#end
    return p - c.lr * step;
}
