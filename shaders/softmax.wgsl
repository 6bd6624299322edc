// Softmax (or its logarithm) of each row of x [rows, cols]. A row of only -∞ gives zeros (its logarithm: -∞).
// Launch: one thread a row. Traffic: three reads and one write an element.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
#import grid
#import row_max

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let rows = params[0][0];
    let cols = params[0][1];
    let row = linear_workgroup(wid, groups) * 64u + lane;
    if (row >= rows) {
        return;
    }
    let first = row * cols;
    let top = row_max(first, cols);
    let masked = bitcast<u32>(top) == 0xff800000u;
    var sum = 0.0;
    for (var j = 0u; j < cols; j++) {
        sum += exp(x[first + j] - top);
    }
    let log_sum = log(sum);
    for (var j = 0u; j < cols; j++) {
        let v = x[first + j];
#if ${LOG}
        out[first + j] = select(v - top - log_sum, top, masked);
#else
        out[first + j] = select(exp(v - top) / sum, 0.0, masked);
#end
    }
}
