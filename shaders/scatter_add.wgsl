// out[r][c] = Σ_i src[i][c] where index[i], clamped, is r, added in the order of i: no atomics, so reruns agree bit for bit.
// For few rows or indices; longer lists are sorted first, see segment_sum.wgsl.
// Launch: one thread per element of out. Traffic: 4 bytes per index and element (from cache), 8 bytes per matching row.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> src: array<${TYPE}>;
@group(0) @binding(2) var<storage, read> index: array<i32>;
@group(0) @binding(3) var<storage, read_write> out: array<${TYPE}>;
#import grid

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let total = params[0][0];
    let rows = params[0][1];
    let cols = params[0][2];
    let n = params[0][3];
    let e = linear_workgroup(wid, groups) * 64u + lane;
    if (e < total) {
        let row = i32(e / cols);
        let col = e % cols;
        var sum = ${TYPE}();
        var i = 0u;
#if ${LOADED} != 1
        // So many loads are under way at once; the sums keep their order.
        for (; i + ${LOADED}u <= n; i += ${LOADED}u) {
#for k in 0..${LOADED}
            let row_${k} = clamp(index[i + ${k}u], 0, i32(rows) - 1);
#end
#for k in 0..${LOADED}
            if (row_${k} == row) {
                sum += src[(i + ${k}u) * cols + col];
            }
#end
        }
#end
        for (; i < n; i++) {
            if (clamp(index[i], 0, i32(rows) - 1) == row) {
                sum += src[i * cols + col];
            }
        }
        out[e] = sum;
    }
}
