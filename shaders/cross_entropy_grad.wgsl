// The gradient of the cross-entropy: out[i, j] = (softmax(x)[i, j] - (j == label[i])) * ct[i]. Labels are clamped.
// Launch: one thread a row. Traffic: three reads and one write an element.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<i32>;
@group(0) @binding(3) var<storage, read> ct: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;
#import grid
#import row_max

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let rows = params[0][0];
    let cols = params[0][1];
    let row = linear_workgroup(wid, groups) * ${LANES}u + lane;
    if (row >= rows) {
        return;
    }
    let first = row * cols;
    let top = row_max(first, cols);
    var sum = 0.0;
    for (var j = 0u; j < cols; j++) {
        sum += exp(x[first + j] - top);
    }
    let label = u32(clamp(labels[row], 0, i32(cols) - 1));
    let g = ct[row];
    for (var j = 0u; j < cols; j++) {
        out[first + j] = (exp(x[first + j] - top) / sum - select(0.0, 1.0, j == label)) * g;
    }
}
