// Sums of parts of rows, side by side for each row: EXP: (maximum, Σ e^(x - maximum)); DOT: Σ x·y; TOTAL: Σ x.
// Launch: ${LANES} threads per part. Traffic: every element once.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 2>;
@group(0) @binding(1) var<storage, read> x: array<${UNIT}>;
#if ${MODE} == DOT
@group(0) @binding(2) var<storage, read> y: array<${UNIT}>;
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;
#end
#if ${MODE} == TOTAL
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;
#end
#if ${MODE} == EXP
@group(0) @binding(2) var<storage, read_write> sums: array<vec2<f32>>;
#end
#import grid
#import row_bits
#import row_tree
#import row_units
#if ${MODE} == EXP
#import row_scan
#end

@compute @workgroup_size(${SIZE})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) id: u32) {
    let rows = params[0][0];
    let units = params[0][1];
    let parts = params[0][2];
    let wg = linear_workgroup(wid, groups);
    let row = wg / parts * ${ROWS}u + id / ${LANES}u;
    let part = wg % parts;
    let first = min(row, rows - 1u) * units;
    let begin = part * params[0][3];
    let end = min(begin + params[0][3], units);
#if ${MODE} == EXP
    let sum = scan(first, begin, end, id, bitcast<f32>(params[1][1]));
#else
    var sum = 0.0;
    var u = begin + id % ${LANES}u;
    for (; u + ${LAST}u * ${LANES}u < end; u += ${LANES}u * ${EACH}u) {
#for j in 0..${EACH}
        let at${j} = first + u + ${j}u * ${LANES}u;
#if ${MODE} == DOT
        let v${j} = x[at${j}] * y[at${j}];
#else
        let v${j} = x[at${j}];
#end
#end
#for j in 0..${EACH}
        sum += total(v${j});
#end
    }
#if ${EACH} != 1
    for (; u < end; u += ${LANES}u) {
#if ${MODE} == DOT
        sum += total(x[first + u] * y[first + u]);
#else
        sum += total(x[first + u]);
#end
    }
#end
    sum = combine_sum(id, sum);
#end
    if (row < rows && id % ${LANES}u == 0u) {
        sums[row * parts + part] = sum;
    }
}
