// Lion (Chen et al., 2023): p -= lr · sign(β₁·m + (1 - β₁)·g); m = β₂·m + (1 - β₂)·g.
// Launch: a workgroup a block. Traffic: 20 bytes an element.
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
        let m = state0[at.state];
        state0[at.state] = b.x * m + b.z * g;
        parameters[at.parameter] = p * a.z - a.x * sign(a.w * m + b.y * g);
    }
}
