// LAMB, third of three kernels: p -= lr · ratio · d, with d from the new moments.
// Launch: one workgroup per block. Traffic: 16 bytes per element.
#import optim
@group(0) @binding(${RATIOS}) var<storage, read> ratios: array<f32>;

${UPDATE}
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let at = site(wid, groups, lane);
    if (at.used) {
        let c = coefficients_of(at.entry);
        let p = parameters[at.parameter];
        let ratio = ratios[blocks[linear_workgroup(wid, groups)].z];
        parameters[at.parameter] = p - c.lr * ratio * direction(at.state, c, p);
    }
}
