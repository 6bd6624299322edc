// What the two passes of LAMB share.
// Adam's direction with decoupled decay.
fn direction(at: Site, p: vec4<f32>, m: vec4<f32>, v: vec4<f32>) -> vec4<f32> {
    let c = coefficients[at.entry + 2u];
    return m * c.z / (sqrt(v) * c.x + coefficients[at.entry + 1u].w) + c.w * p;
}
