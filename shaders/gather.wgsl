// out[i][c] = table[index[i]][c]; an index out of range is clamped.
// Launch: one thread per element. Traffic: 8 bytes per element, and an index from cache.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> table: array<${TYPE}>;
@group(0) @binding(2) var<storage, read> index: array<i32>;
@group(0) @binding(3) var<storage, read_write> out: array<${TYPE}>;
#import grid

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let total = params[0][0];
    let rows = params[0][1];
    let cols = params[0][2];
    let i = linear_workgroup(wid, groups) * 64u + lane;
    if (i < total) {
        let row = u32(clamp(index[i / cols], 0, i32(rows) - 1));
        out[i] = table[row * cols + i % cols];
    }
}
