// AdaGrad (PyTorch): s += g²; p -= lr·g / (√s + eps).
fn update(i: u32, c: Coefficients, p: vec4<f32>, g: vec4<f32>) -> vec4<f32> {
    let s = sum[i] + g * g;
    sum[i] = s;
    return p - c.lr * g / (sqrt(s) + c.eps);
}
