// AdaDelta (PyTorch): v = ρ·v + (1 - ρ)·g²; d = √(u + eps) / √(v + eps) · g; u = ρ·u + (1 - ρ)·d²; p -= lr·d.
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
        let v = b.x * state0[at.state] + b.z * g * g;
        let u = state1[at.state];
        let d = sqrt(u + b.w) / sqrt(v + b.w) * g;
        state0[at.state] = v;
        state1[at.state] = b.x * u + b.z * d * d;
        parameters[at.parameter] = p * a.z - a.x * d;
    }
}
