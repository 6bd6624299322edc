// RMSprop: v = α v + (1 - α) g²; centred: a = α a + (1 - α) g and v - a² in place of v; u = g / (√v + eps);
// with momentum: b = β b + u in place of u; w -= lr u.
// Launch: see common/optim_main. Traffic: 20 bytes an element, and 8 for each further state.
#import optim
@group(0) @binding(5) var<storage, read_write> square: array<f32>;
#if ${CENTERED}
@group(0) @binding(6) var<storage, read_write> mean: array<f32>;
#end
#if ${MOMENTUM}
@group(0) @binding(${VELOCITY}) var<storage, read_write> velocity: array<f32>;
#end
#import grid

fn update(c: Coefficients, at: u32, g: f32) -> f32 {
    var v = c.beta2 * square[at] + c.one_minus_beta2 * g * g;
    square[at] = v;
#if ${CENTERED}
    let a = c.beta2 * mean[at] + c.one_minus_beta2 * g;
    mean[at] = a;
    v = max(v - a * a, 0.0);
#end
    var u = g / (sqrt(v) + c.eps);
#if ${MOMENTUM}
    u += c.beta1 * velocity[at];
    velocity[at] = u;
#end
    return c.lr * u;
}

#import optim_main
