// Softmax of rows that their threads hold in registers, its logarithm, and the gradients of both, from their results and
// cotangents: y · (ct - Σ ct·y), and ct - e^y · Σ ct.
// Launch: ${LANES} threads per row, ${EACH} units of ${V} elements each. Traffic: every element once.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 2>;
@group(0) @binding(1) var<storage, read> x: array<${UNIT}>;
#if ${GRAD}
@group(0) @binding(2) var<storage, read> ct: array<${UNIT}>;
@group(0) @binding(3) var<storage, read_write> out: array<${UNIT}>;
#else
@group(0) @binding(2) var<storage, read_write> out: array<${UNIT}>;
#end
#import grid
#import row_bits
#import row_tree
#import row_units

@compute @workgroup_size(${SIZE})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) id: u32) {
    let rows = params[0][0];
    let units = params[0][1];
    let row = linear_workgroup(wid, groups) * ${ROWS}u + id / ${LANES}u;
    let lane = id % ${LANES}u;
    let first = min(row, rows - 1u) * units;
#if ${GRAD}
    var sum = 0.0;
#for j in 0..${EACH}
    let u${j} = lane + ${j}u * ${LANES}u;
    let v${j} = x[first + min(u${j}, units - 1u)];
    let ct${j} = ct[first + min(u${j}, units - 1u)];
#end
#for j in 0..${EACH}
#if ${LOG}
    sum += select(0.0, total(ct${j}), u${j} < units);
#else
    sum += select(0.0, total(ct${j} * v${j}), u${j} < units);
#end
#end
    sum = combine_sum(id, sum);
#else
    // -∞ comes from a buffer: WGSL has no constant for it.
    let lowest = bitcast<f32>(params[1][1]);
    var top = lowest;
#for j in 0..${EACH}
    let u${j} = lane + ${j}u * ${LANES}u;
    let v${j} = select(${UNIT}(lowest), x[first + min(u${j}, units - 1u)], u${j} < units);
#end
#for j in 0..${EACH}
    top = max(top, most(v${j}));
#end
    top = combine_max(id, top);
    var sum = 0.0;
#for j in 0..${EACH}
    let e${j} = exps(v${j}, top);
#end
#for j in 0..${EACH}
    sum += total(e${j});
#end
    sum = combine_sum(id, sum);
    let dead = is_dead(sum);
#if ${LOG}
    let rest = log_of_sum(sum);
#else
    let scale = 1.0 / sum;
#end
#end
    if (row >= rows) {
        return;
    }
#for j in 0..${EACH}
    if (u${j} < units) {
#if ${GRAD}
#if ${LOG}
        out[first + u${j}] = ct${j} - exps(v${j}, 0.0) * sum;
#else
        out[first + u${j}] = v${j} * (ct${j} - ${UNIT}(sum));
#end
#else
#if ${LOG}
        out[first + u${j}] = log_shares(v${j}, top, rest, dead, params[1][3]);
#else
        out[first + u${j}] = select(e${j} * scale, ${UNIT}(0.0), dead);
#end
#end
    }
#end
}
