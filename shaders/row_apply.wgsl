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

// What elements are made of besides themselves.
struct Numbers {
    top: f32,
    sum: f32,
    // A factor, or for LOG the logarithm of the sum.
    scale: f32,
    dead: bool,
    // LOSS_GRAD: the row's label and cotangent.
    label: u32,
    factor: f32,
}

// Unit u of the result, from v of x and g of the cotangents, if they have the shape of x.
fn value(u: u32, v: ${UNIT}, g: ${UNIT}, n: Numbers) -> ${UNIT} {
#if ${MODE} == SOFTMAX
    return select(exps(v, n.top) * n.scale, ${UNIT}(0.0), n.dead);
#end
#if ${MODE} == LOG
    return log_shares(v, n.top, n.scale, n.dead, params[1][3]);
#end
#if ${MODE} == SOFTMAX_GRAD
    return v * (g - ${UNIT}(n.sum));
#end
#if ${MODE} == LOG_GRAD
    return g - exps(v, 0.0) * n.sum;
#end
#if ${MODE} == LOSS_GRAD
    let share = select(exps(v, n.top) * n.scale, ${UNIT}(0.0), n.dead);
    return (share - one_hot(u, n.label)) * n.factor;
#end
}

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
    var n: Numbers;
#if ${MODE} == LOSS_GRAD
    n.label = u32(clamp(labels[row], 0, i32(units * ${V}u) - 1));
    n.top = kept[rows + row];
    n.sum = kept[2u * rows + row];
    n.factor = ct[row];
#else
#if ${GRAD}
    for (var p = 0u; p < params[0][3]; p++) {
        n.sum += sums[row * params[0][3] + p];
    }
#else
    let pair = merged(row, params[0][3]);
    n.top = pair.x;
    n.sum = pair.y;
#end
#end
    n.dead = is_dead(n.sum);
#if ${MODE} == LOG
    n.scale = log_of_sum(n.sum);
#else
    n.scale = 1.0 / n.sum;
#end
#for j in 0..${EACH}
    let u${j} = lane + ${j}u * ${LANES}u;
#end
#if ${PARTED}
    // Only a row's last part has fewer units, and is loaded one by one.
    if (u${LAST} >= units) {
        for (var u = lane; u < units; u += ${LANES}u) {
            let v = x[first + u];
#if ${PAIRED}
            let g = ct[first + u];
#else
            let g = v;
#end
            out[first + u] = value(u, v, g, n);
        }
        return;
    }
#end
#for j in 0..${EACH}
    let at${j} = first + min(u${j}, units - 1u);
    let v${j} = x[at${j}];
#if ${PAIRED}
    let g${j} = ct[at${j}];
#else
    let g${j} = v${j};
#end
#end
#for j in 0..${EACH}
#if ${PARTED}
    out[at${j}] = value(u${j}, v${j}, g${j}, n);
#else
    if (u${j} < units) {
        out[first + u${j}] = value(u${j}, v${j}, g${j}, n);
    }
#end
#end
}
