// An entry's numbers for one step, with the names and in the order of the struct in `src/graph/optim/numbers.rs`.
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
    extra: f32,
    decay: f32,
    limit: f32,
    reserved: array<f32, 3>,
}
