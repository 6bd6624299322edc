// dq of attention, and the sums over rows D of do∘o: dq = (P∘(do·vᵀ - D)·scale)·k, with P = e^(scores - lse).
//
// A workgroup has 64 queries of one head and walks the keys that any of them sees.
// Source: T. Dao et al., "FlashAttention: fast and memory-efficient exact attention with IO-awareness", 2022.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, ${RECORD}>;
${BINDINGS}
#import grid
#import attention OPERANDS=3
#import attention_load X=4

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
#import attention_sizes
#import attention_queries
    let do_base = params[6][3] + example * params[6][0] + head * params[6][1];
    let rows_base = (example * heads + head) * queries;

    // D, each row's by ${LANES} / 64 threads.
    let own = min(first + lane % 64u, queries - 1u);
    let o_at = params[2][2] + ((example * queries + own) * heads + head) * value_width;
    var dot_part = 0.0;
    for (var c = lane / 64u * 4u; c < value_width; c += ${LANES}u / 16u) {
        let slope = four_of_4(do_base + own * params[6][2], c, value_width);
        let end = value_width - 1u;
        let o = vec4<f32>(b3[o_at + c], b3[o_at + min(c + 1u, end)], b3[o_at + min(c + 2u, end)], b3[o_at + min(c + 3u, end)]);
        dot_part += dot(slope, o);
    }
    tile[lane] = dot_part;
    workgroupBarrier();
    if (lane < 64u) {
        var all = tile[lane];
        for (var i = 1u; i < ${LANES}u / 64u; i++) {
            all += tile[lane + 64u * i];
        }
        tile[lane] = all;
        if (here && first + lane < queries) {
            dots[rows_base + first + lane] = all;
        }
    }
    workgroupBarrier();
#for u in 0..4
    let mean${u} = tile[4u * four.x + ${u}u];
    let lse${u} = b3[params[2][2] + params[2][1] + rows_base + min(row + ${u}u, queries - 1u)];
#for j in 0..${D_FOURS}
    var o${u}_${j} = vec4<f32>();
#end
#end
    let last = select(keys, min(keys, first + 64u), ${CAUSAL});
    for (var column = 0u; column < last; column += ${COLUMNS}u) {
#import attention_scores S=s ROWS_ARE=queries COLUMNS_ARE=keys A=0 B=1 WIDTH=width A_BASE=q_base A_STEP=params[3][2] B_BASE=k_base B_STEP=params[4][2] ROW_COUNT=queries COLUMN_COUNT=keys
#import attention_scores S=t ROWS_ARE=do COLUMNS_ARE=values A=4 B=2 WIDTH=value_width A_BASE=do_base A_STEP=params[6][2] B_BASE=v_base B_STEP=params[5][2] ROW_COUNT=queries COLUMN_COUNT=keys
#for u in 0..4
#for j in 0..${FOURS}
#for w in 0..4
        {
            let key = column + 4u * (four.y + ${j}u * ${TX}u) + ${w}u;
#if ${MASK} != none
            let at = mask_base + min(row + ${u}u, queries - 1u) * params[7][2] + min(key, keys - 1u) * params[7][3];
#end
            let hidden = (key >= keys) | (${CAUSAL} & (key > row + ${u}u))${HIDDEN_MASK};
            let score = seen(s${u}_${j}[${w}] * factor${ADDED}, hidden);
            let slope = weight(score, lse${u}) * (t${u}_${j}[${w}] - mean${u}) * factor;
            s${u}_${j}[${w}] = select(slope, 0.0, is_lowest(score));
        }
#end
#end
#end
#import attention_apply S=s O=o B=1 N=${D_FOURS} B_BASE=k_base B_STEP=params[4][2] WIDTH=width COLUMN_COUNT=keys V_LOADS=${D_LOADS} V_FOURS=${D_LINE} V_WIDTH=${D_WIDTH} V_SOME=${D_SOME}
    }
#for u in 0..4
    if (here && row + ${u}u < queries) {
        let at = ((example * queries + row + ${u}u) * heads + head) * width;
#for j in 0..${D_FOURS}
#for w in 0..4
        if (4u * (four.y + ${j}u * ${TX}u) + ${w}u < width) {
            out[at + 4u * (four.y + ${j}u * ${TX}u) + ${w}u] = o${u}_${j}[${w}];
        }
#end
#end
    }
#end
}
