// Stochastic gradient descent: v = β v + (1 - dampening) g; w -= lr v (Nesterov: lr (g + β v)).
// Launch: see common/optim_main. Traffic: 12 bytes an element, 20 with momentum.
#import optim
#if ${MOMENTUM}
@group(0) @binding(5) var<storage, read_write> velocity: array<f32>;
#end
#import grid

fn update(c: Coefficients, at: u32, g: f32) -> f32 {
#if ${MOMENTUM}
    let v = c.beta1 * velocity[at] + c.one_minus_beta1 * g;
    velocity[at] = v;
#if ${NESTEROV}
    return c.lr * (g + c.beta1 * v);
#else
    return c.lr * v;
#end
#else
    return c.lr * g;
#end
}

#import optim_main
