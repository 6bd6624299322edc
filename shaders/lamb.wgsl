// LAMB, third of three: p -= lr · ratio · d, with d from the new m and v.
// Launch: a workgroup a block. Traffic: 16 bytes an element.
#import optim
#import lamb
@group(0) @binding(${RATIOS}) var<storage, read> ratios: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let at = site(wid, groups, lane);
    if (at.used) {
        let p = parameters[at.parameter];
        let ratio = ratios[blocks[linear_workgroup(wid, groups)].z];
        let d = direction(at, p, state0[at.state], state1[at.state]);
        parameters[at.parameter] = p - coefficients[at.entry].x * ratio * d;
    }
}
