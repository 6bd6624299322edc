// SGD (PyTorch): v = μ·v + (1 - dampening)·g; p -= lr·v, with Nesterov p -= lr·(g + μ·v); without momentum p -= lr·g.
// Launch: a workgroup a block. Traffic: 12 bytes an element, 20 with momentum.
#import optim

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let at = site(wid, groups, lane);
    if (at.used) {
        let a = coefficients[at.entry];
        let p = parameters[at.parameter];
        let g = gradient(at, p);
#if ${MOMENTUM}
        let v = a.w * state0[at.state] + coefficients[at.entry + 1u].y * g;
        state0[at.state] = v;
#if ${NESTEROV}
        let step = g + a.w * v;
#else
        let step = v;
#end
#else
        let step = g;
#end
        parameters[at.parameter] = p * a.z - a.x * step;
    }
}
