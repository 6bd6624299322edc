// What all optimizers share. The table has one row a block of at most 1,024 elements of one parameter:
// {first element in the parameter arena, first element in the gradient and state arenas, entry, length}.
// Coefficients are 16 words an entry, laid out as `Coefficients` in src/optim/store.rs.
struct Coefficients {
    lr: f32,
    l2: f32,
    shrink: f32,
    beta1: f32,
    beta2: f32,
    one_minus_beta1: f32,
    one_minus_beta2: f32,
    eps: f32,
    inv_sqrt_bias2: f32,
    grad_scale: f32,
    reserved: array<f32, 6>,
}

@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> blocks: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> coefficients: array<Coefficients>;
@group(0) @binding(3) var<storage, read_write> parameters: array<f32>;
@group(0) @binding(4) var<storage, read> gradients: array<f32>;
