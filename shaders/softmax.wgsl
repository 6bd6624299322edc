// out[r][c] = e^(x[r][c] - max) / Σ e^(x[r] - max), or its logarithm (LOG). A row of only -∞ gives zeros (logarithm: -∞).
// Launch: ${LANES} threads per row. Traffic: 12 bytes read (mostly from cache) and 4 written per element.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
#import grid
#import rows

@compute @workgroup_size(${SIZE})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) id: u32) {
    let rows = params[0][0];
    let cols = params[0][1];
    let row = linear_workgroup(wid, groups) * ${ROWS}u + id / ${LANES}u;
    let lane = id % ${LANES}u;
    let first = min(row, rows - 1u) * cols;
    let sums = row_sums(first, cols, lane);
    if (row >= rows) {
        return;
    }
    let dead = is_dead(sums.y);
#if ${LOG}
    // Kept separate from the maximum: added to it, it may be lost. A 0 that compilers do not know keeps them from adding the two.
    let rest = log_of_sum(sums.y);
#else
    let scale = 1.0 / sums.y;
#end
    for (var c = lane; c < cols; c += ${LANES}u) {
        let v = x[first + c];
#if ${LOG}
        let below = bitcast<f32>(bitcast<u32>(v - sums.x) ^ params[0][3]);
        out[first + c] = select(below - rest, v, dead || (is_lowest(v) && !is_undefined(rest)));
#else
        out[first + c] = select(shifted_exp(v, sums.x) * scale, 0.0, dead);
#end
    }
}
