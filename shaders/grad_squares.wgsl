// Clipping by norm, first of two kernels: for each block, the sum of its gradients' squares.
// Launch: one workgroup per block. Traffic: 4 bytes per element.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> blocks: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> gradients: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> parts: array<vec2<u32>>;
#import grid
#import fold

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let block = linear_workgroup(wid, groups);
    let count = params[0][0];
    let b = blocks[min(block, count - 1u)];
    var squares = vec4<u32>();
    if (lane * 4u < b.w) {
        // The last vector may extend past the end.
        let inside = vec4<u32>(0u, 1u, 2u, 3u) + lane * 4u < vec4<u32>(b.w);
        let g = select(vec4<f32>(), gradients[(b.y >> 2u) + lane], inside);
        squares = vec4<u32>(squares_of(g), 0u, 0u);
    }
    fold(lane, squares);
    if (lane == 0u && block < count) {
        parts[block] = folded[0].xy;
    }
}
