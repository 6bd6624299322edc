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

// From the four vectors in memory: on lavapipe, loads of single numbers make Adam's step a sixth slower.
fn coefficients_of(entry: u32) -> Coefficients {
    let a = coefficients[entry * 4u];
    let b = coefficients[entry * 4u + 1u];
    let c = coefficients[entry * 4u + 2u];
    let d = coefficients[entry * 4u + 3u];
    let reserved = array<f32, 3>(d.y, d.z, d.w);
    return Coefficients(a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w, c.x, c.y, c.z, c.w, d.x, reserved);
}
