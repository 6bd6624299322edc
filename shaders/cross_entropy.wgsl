// Three numbers for each row: the loss log(Σ_c e^x[r][c]) - x[r][label[r]], the maximum, and Σ_c e^(x[r][c] - maximum). Labels out of
// range are clamped. The sums are taken in two passes (FORM two_passes) or one (scan), or from those of parts (parts).
// Launch: ${LANES} threads per row. Traffic: 4 (two_passes: 8) bytes per element, none of parts.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 2>;
#if ${V} == 4
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
#else
@group(0) @binding(1) var<storage, read> x: array<f32>;
#end
@group(0) @binding(2) var<storage, read> labels: array<i32>;
#if ${FORM} == parts
@group(0) @binding(3) var<storage, read> pairs: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;
#else
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
#end
#import grid
#import row_bits
#if ${FORM} == parts
#import row_parts
#else
#import row_tree
#end
#if ${FORM} == two_passes
#import rows
#end
#if ${FORM} == scan
#import row_units
#import row_scan
#end

@compute @workgroup_size(${SIZE})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) id: u32) {
    let rows = params[0][0];
    let cols = params[0][1];
    let row = linear_workgroup(wid, groups) * ${ROWS}u + id / ${LANES}u;
    let at = min(row, rows - 1u);
#if ${FORM} == two_passes
    let sums = row_sums(at * cols, cols, id);
#end
#if ${FORM} == scan
    let sums = scan(at * (cols / ${V}u), 0u, cols / ${V}u, id, bitcast<f32>(params[0][3]));
#end
#if ${FORM} == parts
    let sums = merged(at, params[0][2]);
#end
    if (row < rows && id % ${LANES}u == 0u) {
        let label = at * cols + u32(clamp(labels[at], 0, i32(cols) - 1));
#if ${V} == 4
        let v = x[label / 4u][label % 4u];
#else
        let v = x[label];
#end
        // The difference first: the logarithm may be lost when added to a large maximum. A 0 that compilers do not know keeps them
        // from adding those two.
        let behind = bitcast<f32>(bitcast<u32>(sums.x - v) ^ params[1][0]);
        out[at] = select(log_of_sum(sums.y) + behind, -v, is_dead(sums.y) || is_lowest(v));
        out[rows + at] = sums.x;
        out[2u * rows + at] = sums.y;
    }
}
