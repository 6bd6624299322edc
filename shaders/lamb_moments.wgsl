// LAMB, first of three (You et al., 2020): m = β₁·m + (1 - β₁)·g; v = β₂·v + (1 - β₂)·g²; and for each block the sums of p² and
// of d², with d = m / (1 - β₁ᵗ) / (√(v / (1 - β₂ᵗ)) + eps) + decay·p.
// Launch: a workgroup a block. Traffic: 24 bytes an element.
#import optim
#import fold
#import lamb
@group(0) @binding(${PARTS}) var<storage, read_write> parts: array<vec4<u32>>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let at = site(wid, groups, lane);
    var squares = vec4<u32>();
    if (at.used) {
        let a = coefficients[at.entry];
        let b = coefficients[at.entry + 1u];
        let p = parameters[at.parameter];
        let g = gradient(at, p);
        let m = a.w * state0[at.state] + b.y * g;
        let v = b.x * state1[at.state] + b.z * g * g;
        state0[at.state] = m;
        state1[at.state] = v;
        // The last vector may reach past the end.
        let valid = blocks[linear_workgroup(wid, groups)].w;
        let inside = vec4<u32>(0u, 1u, 2u, 3u) + lane * 4u < vec4<u32>(valid);
        let d = select(vec4<f32>(), direction(at, p, m, v), inside);
        let w = select(vec4<f32>(), p, inside);
        squares = vec4<u32>(squares_of(w), squares_of(d));
    }
    fold(lane, squares);
    let block = linear_workgroup(wid, groups);
    if (lane == 0u && block < params[0][0]) {
        parts[block] = folded[0];
    }
}
