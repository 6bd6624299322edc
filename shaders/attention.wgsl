// [o | lse]: o = softmax(q·kᵀ·scale + mask)·v, with a running maximum and sum over tiles of keys, and the logarithms of the sums.
//
// A workgroup has 64 queries of one head and walks the keys that any of them sees. Scores and weights exist as tiles only.
// Queries past the edge are computed from clamped addresses and not stored.
// Source: T. Dao et al., "FlashAttention: fast and memory-efficient exact attention with IO-awareness", 2022.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, ${RECORD}>;
${BINDINGS}
#import grid
#import attention OPERANDS=3

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
#import attention_sizes
#import attention_queries

#for u in 0..4
#for j in 0..${O_FOURS}
    var o${u}_${j} = vec4<f32>();
#end
    var top${u} = -3.402823e38;
    var total${u} = 0.0;
#end
    let last = select(keys, min(keys, first + 64u), ${CAUSAL});
    for (var column = 0u; column < last; column += ${COLUMNS}u) {
#import attention_scores S=s ROWS_ARE=queries COLUMNS_ARE=keys A=0 B=1 WIDTH=width A_BASE=q_base A_STEP=params[3][2] B_BASE=k_base B_STEP=params[4][2] ROW_COUNT=queries COLUMN_COUNT=keys
        // A query's maximum, shared by the ${TX} threads that have its scores.
        workgroupBarrier();
#for u in 0..4
        var high${u} = top${u};
#for j in 0..${FOURS}
#for w in 0..4
        {
            let key = column + 4u * (four.y + ${j}u * ${TX}u) + ${w}u;
#if ${MASK} != none
            let at = mask_base + min(row + ${u}u, queries - 1u) * params[7][2] + min(key, keys - 1u) * params[7][3];
#end
            let hidden = (key >= keys) | (${CAUSAL} & (key > row + ${u}u))${HIDDEN_MASK};
            s${u}_${j}[${w}] = seen(s${u}_${j}[${w}] * factor${ADDED}, hidden);
            high${u} = max(high${u}, s${u}_${j}[${w}]);
        }
#end
#end
        tile[(4u * four.x + ${u}u) * ${TX}u + four.y] = high${u};
#end
        workgroupBarrier();
#for u in 0..4
        {
            let line = (4u * four.x + ${u}u) * ${TX}u;
            var high = tile[line];
            for (var i = 1u; i < ${TX}u; i++) {
                high = max(high, tile[line + i]);
            }
            let shrink = exp(max(top${u} - high, -200.0));
            total${u} *= shrink;
#for j in 0..${O_FOURS}
            o${u}_${j} *= shrink;
#end
            top${u} = high;
#for j in 0..${FOURS}
            s${u}_${j} = weights(s${u}_${j}, high);
            total${u} += s${u}_${j}.x + s${u}_${j}.y + s${u}_${j}.z + s${u}_${j}.w;
#end
        }
#end
#import attention_apply S=s O=o B=2 N=${O_FOURS} B_BASE=v_base B_STEP=params[5][2] WIDTH=value_width COLUMN_COUNT=keys V_LOADS=${O_LOADS} V_FOURS=${O_LINE} V_WIDTH=${O_WIDTH} V_SOME=${O_SOME}
    }

    workgroupBarrier();
#for u in 0..4
    tile[(4u * four.x + ${u}u) * ${TX}u + four.y] = total${u};
#end
    workgroupBarrier();
#for u in 0..4
    if (here && row + ${u}u < queries) {
        var total = 0.0;
        for (var i = 0u; i < ${TX}u; i++) {
            total += tile[(4u * four.x + ${u}u) * ${TX}u + i];
        }
        let dead = total == 0.0 && !is_undefined(total);
        let share = 1.0 / total;
        let at = ((example * queries + row + ${u}u) * heads + head) * value_width;
#for j in 0..${O_FOURS}
#for w in 0..4
        if (4u * (four.y + ${j}u * ${TX}u) + ${w}u < value_width) {
            out[at + 4u * (four.y + ${j}u * ${TX}u) + ${w}u] = select(o${u}_${j}[${w}] * share, 0.0, dead);
        }
#end
#end
        if (four.y == 0u) {
            let known = select(top${u} + log(total), total, is_undefined(total));
            out[params[2][1] + (example * heads + head) * queries + row + ${u}u] = select(known, 0.0, dead);
        }
    }
#end
}
