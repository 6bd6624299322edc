// out[r][c] = e^(x[r][c] - max) / Σ e^(x[r] - max), or its logarithm (LOG). A row of only -∞ gives zeros (logarithm: -∞).
// Launch: ${LANES} threads per row. Traffic: 12 bytes read (mostly from cache) and 4 written per element.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
#import grid
#import row_bits
#import row_tree
#import rows

@compute @workgroup_size(${SIZE})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) id: u32) {
    let rows = params[0][0];
    let cols = params[0][1];
    let row = linear_workgroup(wid, groups) * ${ROWS}u + id / ${LANES}u;
    let lane = id % ${LANES}u;
    let first = min(row, rows - 1u) * cols;
    let sums = row_sums(first, cols, id);
    if (row >= rows) {
        return;
    }
    let dead = is_dead(sums.y);
#if ${LOG}
    let rest = log_of_sum(sums.y);
    for (var c = lane; c < cols; c += ${LANES}u) {
        out[first + c] = log_share(x[first + c], sums.x, rest, dead, params[0][3]);
    }
#else
    let scale = 1.0 / sums.y;
    for (var c = lane; c < cols; c += ${LANES}u) {
        out[first + c] = select(shifted_exp(x[first + c], sums.x) * scale, 0.0, dead);
    }
#end
}
