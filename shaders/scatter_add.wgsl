// out[r, :] = Σ over i with index[i] = r of src[i, :], in the order of i, for src [n, cols]. Indices are clamped.
// Launch: one thread an element of the result; each walks all indices, so there are no atomics and reruns agree bit for bit.
// Traffic: 4 n bytes of indices and 4 bytes a hit an element.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> src: array<f32>;
@group(0) @binding(2) var<storage, read> index: array<i32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
#import grid

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let rows = params[0][0];
    let cols = params[0][1];
    let n = params[0][2];
    let i = linear_workgroup(wid, groups) * 64u + lane;
    if (i >= rows * cols) {
        return;
    }
    let row = i32(i / cols);
    let col = i % cols;
    var sum = 0.0;
    for (var j = 0u; j < n; j++) {
        if (clamp(index[j], 0, i32(rows) - 1) == row) {
            sum += src[j * cols + col];
        }
    }
    out[i] = sum;
}
