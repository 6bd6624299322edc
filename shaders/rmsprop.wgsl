// RMSprop (PyTorch): v = α·v + (1 - α)·g²; d = √v + eps, centred √(v - a²) + eps with a = α·a + (1 - α)·g;
// p -= lr·g/d, with momentum b = μ·b + g/d; p -= lr·b. States: v, a if centred, b if there is momentum.
// Launch: a workgroup a block. Traffic: 20 bytes an element, 8 more for each further state.
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
        state0[at.state] = v;
#if ${CENTERED}
        let mean = b.x * state1[at.state] + b.z * g;
        state1[at.state] = mean;
        // Rounding may take the difference below 0.
        let scaled = g / (sqrt(max(v - mean * mean, vec4<f32>())) + b.w);
#else
        let scaled = g / (sqrt(v) + b.w);
#end
#if ${MOMENTUM}
        let step = a.w * state${VELOCITY}[at.state] + scaled;
        state${VELOCITY}[at.state] = step;
#else
        let step = scaled;
#end
        parameters[at.parameter] = p * a.z - a.x * step;
    }
}
