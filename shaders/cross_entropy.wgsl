// loss[r] = log(Σ_c e^x[r][c]) - x[r][label[r]], or with GRAD: out[r][c] = (softmax(x)[r][c] - (c == label[r])) * ct[r].
// Labels out of range are clamped. Launch: ${LANES} threads per row. Traffic: 8 (GRAD: 16) bytes per element.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<i32>;
#if ${GRAD}
@group(0) @binding(3) var<storage, read> ct: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;
#else
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
#end
#import grid
#import rows

@compute @workgroup_size(${SIZE})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) id: u32) {
    let rows = params[0][0];
    let cols = params[0][1];
    let row = linear_workgroup(wid, groups) * ${ROWS}u + id / ${LANES}u;
    let lane = id % ${LANES}u;
    let at = min(row, rows - 1u);
    let first = at * cols;
    let sums = row_sums(first, cols, lane);
    if (row >= rows) {
        return;
    }
    let label = u32(clamp(labels[at], 0, i32(cols) - 1));
    let dead = is_dead(sums.y);
#if ${GRAD}
    let scale = 1.0 / sums.y;
    for (var c = lane; c < cols; c += ${LANES}u) {
        let p = select(shifted_exp(x[first + c], sums.x) * scale, 0.0, dead);
        out[first + c] = (p - select(0.0, 1.0, c == label)) * ct[at];
    }
#else
    if (lane == 0u) {
        let v = x[first + label];
        // The difference first: the logarithm may be lost when added to a large maximum. A 0 that compilers do not know keeps them
        // from adding those two.
        let behind = bitcast<f32>(bitcast<u32>(sums.x - v) ^ params[0][3]);
        out[at] = select(log_of_sum(sums.y) + behind, -v, dead || is_lowest(v));
    }
#end
}
