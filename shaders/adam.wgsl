// Adam: m = β₁ m + (1 - β₁) g; v = β₂ v + (1 - β₂) g²; w -= lr / (1 - β₁ᵗ) · m / (√v / √(1 - β₂ᵗ) + eps).
// AMSGrad takes the largest v so far. lr comes divided by the first bias correction.
// Launch: see common/optim_main. Traffic: 28 bytes an element, 36 with AMSGrad.
#import optim
@group(0) @binding(5) var<storage, read_write> first: array<f32>;
@group(0) @binding(6) var<storage, read_write> second: array<f32>;
#if ${AMSGRAD}
@group(0) @binding(7) var<storage, read_write> largest: array<f32>;
#end
#import grid

fn update(c: Coefficients, at: u32, g: f32) -> f32 {
    let m = c.beta1 * first[at] + c.one_minus_beta1 * g;
    var v = c.beta2 * second[at] + c.one_minus_beta2 * g * g;
    first[at] = m;
    second[at] = v;
#if ${AMSGRAD}
    v = max(v, largest[at]);
    largest[at] = v;
#end
    return c.lr * m / (sqrt(v) * c.inv_sqrt_bias2 + c.eps);
}

#import optim_main
