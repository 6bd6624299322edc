// RAdam (PyTorch): m and v as Adam's; p -= lr'·m / (√v + eps), or lr'·m while the variance of v is unknown; lr' from the host.
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
        let v = b.x * state1[at.state] + b.z * g * g;
        state0[at.state] = m;
        state1[at.state] = v;
        let step = select(m, m / (sqrt(v) + b.w), coefficients[at.entry + 2u].z != 0.0);
        parameters[at.parameter] = p * a.z - a.x * step;
    }
}
