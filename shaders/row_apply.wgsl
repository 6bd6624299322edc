// What follows from numbers of whole rows. SOFTMAX, LOG: softmax or its logarithm, from the pairs of row_sums.wgsl. SOFTMAX_GRAD,
// LOG_GRAD: their gradients from results x and cotangents, with the sums of row_sums.wgsl. LOSS_GRAD: (softmax(x) - one_hot(label))
// · ct, with maximum and sum of each row from cross_entropy.wgsl.
// Launch: ${LANES} threads per part of a row, ${EACH} units of ${V} elements each. Traffic: every element once.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 2>;
@group(0) @binding(1) var<storage, read> x: array<${UNIT}>;
#if ${MODE} == LOSS_GRAD
@group(0) @binding(2) var<storage, read> labels: array<i32>;
@group(0) @binding(3) var<storage, read> kept: array<f32>;
@group(0) @binding(4) var<storage, read> ct: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<${UNIT}>;
#else
#if ${GRAD}
@group(0) @binding(2) var<storage, read> ct: array<${UNIT}>;
@group(0) @binding(3) var<storage, read> sums: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<${UNIT}>;
#else
@group(0) @binding(2) var<storage, read> pairs: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<${UNIT}>;
#end
#end
#import grid
#import row_bits
#import row_units
#if ${GRAD} == 0
#import row_parts
#end

@compute @workgroup_size(${SIZE})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) id: u32) {
    let rows = params[0][0];
    let units = params[0][1];
    let wg = linear_workgroup(wid, groups);
    let row = wg / params[0][2] * ${ROWS}u + id / ${LANES}u;
    if (row >= rows) {
        return;
    }
    let first = row * units;
    let lane = wg % params[0][2] * ${LANES}u * ${EACH}u + id % ${LANES}u;
#for j in 0..${EACH}
    let u${j} = lane + ${j}u * ${LANES}u;
    let v${j} = x[first + min(u${j}, units - 1u)];
#if ${MODE} == SOFTMAX_GRAD
    let ct${j} = ct[first + min(u${j}, units - 1u)];
#end
#if ${MODE} == LOG_GRAD
    let ct${j} = ct[first + min(u${j}, units - 1u)];
#end
#end
#if ${MODE} == LOSS_GRAD
    let label = u32(clamp(labels[row], 0, i32(units * ${V}u) - 1));
    let top = kept[rows + row];
    let sum = kept[2u * rows + row];
    let factor = ct[row];
#else
#if ${GRAD}
    let parts = params[0][3];
    var sum = 0.0;
    for (var p = 0u; p < parts; p++) {
        sum += sums[row * parts + p];
    }
#else
    let merged_sums = merged(row, params[0][3]);
    let top = merged_sums.x;
    let sum = merged_sums.y;
#end
#end
    let dead = is_dead(sum);
#if ${MODE} == LOG
    let rest = log_of_sum(sum);
#else
    let scale = 1.0 / sum;
#end
#for j in 0..${EACH}
    if (u${j} < units) {
#if ${MODE} == SOFTMAX
        out[first + u${j}] = select(exps(v${j}, top) * scale, ${UNIT}(0.0), dead);
#end
#if ${MODE} == LOG
        out[first + u${j}] = log_shares(v${j}, top, rest, dead, params[1][3]);
#end
#if ${MODE} == SOFTMAX_GRAD
        out[first + u${j}] = v${j} * (ct${j} - ${UNIT}(sum));
#end
#if ${MODE} == LOG_GRAD
        out[first + u${j}] = ct${j} - exps(v${j}, 0.0) * sum;
#end
#if ${MODE} == LOSS_GRAD
        let share = select(exps(v${j}, top) * scale, ${UNIT}(0.0), dead);
        out[first + u${j}] = (share - one_hot(u${j}, label)) * factor;
#end
    }
#end
}
