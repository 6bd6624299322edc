// LAMB, first of three kernels: the new moments, and for each block the sums of p² and of d².
// Launch: one workgroup per block. Traffic: 24 bytes per element.
#import optim
#import fold
@group(0) @binding(${PARTS}) var<storage, read_write> parts: array<vec4<u32>>;

${UPDATE}
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let at = site(wid, groups, lane);
    var squares = vec4<u32>();
    if (at.used) {
        let c = coefficients_of(at.entry);
        let p = parameters[at.parameter];
        // The last vector may extend past the end.
        let valid = blocks[linear_workgroup(wid, groups)].w;
        let inside = vec4<u32>(0u, 1u, 2u, 3u) + lane * 4u < vec4<u32>(valid);
        let d = select(vec4<f32>(), update(at.state, c, p, gradient(at, c, p)), inside);
        let w = select(vec4<f32>(), p, inside);
        squares = vec4<u32>(squares_of(w), squares_of(d));
    }
    fold(lane, squares);
    let block = linear_workgroup(wid, groups);
    if (lane == 0u && block < params[0][0]) {
        parts[block] = folded[0];
    }
}
