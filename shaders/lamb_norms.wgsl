// LAMB, second of three kernels: each entry's trust ratio ‖p‖ / ‖d‖, 1 if either is 0, from the sums of its blocks.
// Launch: one workgroup per block; only that of an entry's first block does the work. Traffic: 16 bytes per block.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> blocks: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> parts: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> ratios: array<f32>;
#import grid
#import fold

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let count = params[0][0];
    let first = min(linear_workgroup(wid, groups), count - 1u);
    let entry = blocks[first].z;
    let leads = first == 0u || blocks[max(first, 1u) - 1u].z != entry;
    var sum = vec4<u32>();
    if (leads) {
        for (var i = first + lane; i < count; i += 256u) {
            if (blocks[i].z != entry) {
                break;
            }
            sum = vec4<u32>(joined(sum.xy, parts[i].xy), joined(sum.zw, parts[i].zw));
        }
    }
    fold(lane, sum);
    if (lane == 0u && leads) {
        let norms = vec2<f32>(root_of(folded[0].xy), root_of(folded[0].zw));
        // Neither is 0 or NaN, by bits, since compilers may assume that no number is NaN.
        let usable = bitcast<vec2<u32>>(norms) - 1u < vec2<u32>(0x7f800000u);
        ratios[entry] = select(1.0, norms.x / norms.y, usable.x && usable.y);
    }
}
