// Adamax (PyTorch): m = β₁·m + (1 - β₁)·g; u = max(β₂·u, |g| + eps); p -= lr / (1 - β₁ᵗ) · m / u.
// Launch: a workgroup a block. Traffic: 28 bytes an element.
#import optim

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let at = site(wid, groups, lane);
    if (at.used) {
        let a = coefficients[at.entry];
        let b = coefficients[at.entry + 1u];
        let p = parameters[at.parameter];
        let g = gradient(at, p);
        let m = a.w * state0[at.state] + b.y * g;
        let u = max(b.x * state1[at.state], abs(g) + b.w);
        state0[at.state] = m;
        state1[at.state] = u;
        parameters[at.parameter] = p * a.z - a.x * m / u;
    }
}
