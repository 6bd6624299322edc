// Adam, AdamW, AMSGrad (PyTorch): m = β₁·m + (1 - β₁)·g; v = β₂·v + (1 - β₂)·g²;
// p -= lr' · m / (√v · c + eps), lr' = lr / (1 - β₁ᵗ), c = 1 / √(1 - β₂ᵗ); AMSGrad takes the largest v so far.
// Launch: a workgroup a block. Traffic: 28 bytes an element, 36 with AMSGrad.
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
#if ${AMSGRAD}
        let second = max(state2[at.state], v);
        state2[at.state] = second;
#else
        let second = v;
#end
        let denominator = sqrt(second) * coefficients[at.entry + 2u].x + b.w;
        parameters[at.parameter] = p * a.z - a.x * m / denominator;
    }
}
