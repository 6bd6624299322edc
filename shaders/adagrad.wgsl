// AdaGrad (PyTorch): s += g²; p -= lr·g / (√s + eps).
// Launch: a workgroup a block. Traffic: 20 bytes an element.
#import optim

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let at = site(wid, groups, lane);
    if (at.used) {
        let a = coefficients[at.entry];
        let p = parameters[at.parameter];
        let g = gradient(at, p);
        let sum = state0[at.state] + g * g;
        state0[at.state] = sum;
        parameters[at.parameter] = p * a.z - a.x * g / (sqrt(sum) + coefficients[at.entry + 1u].w);
    }
}
