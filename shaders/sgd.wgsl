// SGD (PyTorch): v = μ·v + (1 - dampening)·g; p -= lr·v, with Nesterov p -= lr·(g + μ·v); without momentum p -= lr·g.
fn update(i: u32, c: Coefficients, p: vec4<f32>, g: vec4<f32>) -> vec4<f32> {
#if ${MOMENTUM}
    let v = c.beta1 * momentum_buffer[i] + c.one_minus_beta1 * g;
    momentum_buffer[i] = v;
#if ${NESTEROV}
    let step = g + c.beta1 * v;
#else
    let step = v;
#end
#else
    let step = g;
#end
    return p - c.lr * step;
}
