// AdaGrad: s += g²; w -= lr g / (√s + eps). lr comes decayed.
// Launch: see common/optim_main. Traffic: 20 bytes an element.
#import optim
@group(0) @binding(5) var<storage, read_write> sum: array<f32>;
#import grid

fn update(c: Coefficients, at: u32, g: f32) -> f32 {
    let s = sum[at] + g * g;
    sum[at] = s;
    return c.lr * g / (sqrt(s) + c.eps);
}

#import optim_main
