// dk and dv of attention: dv = Pᵀ·do and dk = (P∘(do·vᵀ - D)·scale)ᵀ·q, with P = e^(scores - lse) and D the sums over rows of do∘o.
//
// A workgroup has 64 keys of one head and walks the queries that see any of them, of one head of queries after the other.
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
    let count = params[2][0];

    // The workgroup's index as (tile of keys, example, head of keys); early keys, which most see, first.
    let index = linear_workgroup(wid, groups);
    let here = index < count;
    let z = min(index, count - 1u) % (params[0][0] * key_heads);
    let first = min(index, count - 1u) / (params[0][0] * key_heads) * 64u;
    let example = z / key_heads;
    let key_head = z % key_heads;
    let k_base = params[4][3] + example * params[4][0] + key_head * params[4][1];
    let v_base = params[5][3] + example * params[5][0] + key_head * params[5][1];
    let four = four_of(lane);
    let row = first + 4u * four.x;
#for u in 0..4
#for j in 0..${D_FOURS}
    var x${u}_${j} = vec4<f32>();
#end
#for j in 0..${O_FOURS}
    var y${u}_${j} = vec4<f32>();
#end
#end
    let start = select(0u, first, ${CAUSAL});
    for (var member = 0u; member < group; member++) {
        let head = key_head * group + member;
        let q_base = params[3][3] + example * params[3][0] + head * params[3][1];
        let do_base = params[6][3] + example * params[6][0] + head * params[6][1];
        let rows_base = (example * heads + head) * queries;
#if ${MASK} != none
        let mask_base = params[8][0] + example * params[7][0] + head * params[7][1];
#end
        for (var column = start; column < queries; column += ${COLUMNS}u) {
#import attention_scores S=s ROWS_ARE=keys COLUMNS_ARE=queries A=1 B=0 WIDTH=width A_BASE=k_base A_STEP=params[4][2] B_BASE=q_base B_STEP=params[3][2] ROW_COUNT=keys COLUMN_COUNT=queries
#import attention_scores S=t ROWS_ARE=values COLUMNS_ARE=do A=2 B=4 WIDTH=value_width A_BASE=v_base A_STEP=params[5][2] B_BASE=do_base B_STEP=params[6][2] ROW_COUNT=keys COLUMN_COUNT=queries
#for j in 0..${FOURS}
#for w in 0..4
        {
            let query = column + 4u * (four.y + ${j}u * ${TX}u) + ${w}u;
            let known = min(query, queries - 1u);
            let lse = b3[params[2][2] + params[2][1] + rows_base + known];
            let mean = dots[rows_base + known];
#for u in 0..4
            {
#if ${MASK} != none
                let at = mask_base + known * params[7][2] + min(row + ${u}u, keys - 1u) * params[7][3];
#end
                let hidden = (query >= queries) | (${CAUSAL} & (query < row + ${u}u))${HIDDEN_MASK};
                let score = seen(s${u}_${j}[${w}] * factor${ADDED}, hidden);
                let share = weight(score, lse);
                s${u}_${j}[${w}] = share;
                t${u}_${j}[${w}] = select(share * (t${u}_${j}[${w}] - mean) * factor, 0.0, is_lowest(score));
            }
#end
        }
#end
#end
#import attention_apply S=s O=y B=4 N=${O_FOURS} B_BASE=do_base B_STEP=params[6][2] WIDTH=value_width COLUMN_COUNT=queries V_LOADS=${O_LOADS} V_FOURS=${O_LINE} V_WIDTH=${O_WIDTH} V_SOME=${O_SOME}
#import attention_apply S=t O=x B=0 N=${D_FOURS} B_BASE=q_base B_STEP=params[3][2] WIDTH=width COLUMN_COUNT=queries V_LOADS=${D_LOADS} V_FOURS=${D_LINE} V_WIDTH=${D_WIDTH} V_SOME=${D_SOME}
        }
    }
#for u in 0..4
    if (here && row + ${u}u < keys) {
        let line = (example * keys + row + ${u}u) * key_heads + key_head;
#for j in 0..${D_FOURS}
#for w in 0..4
        if (4u * (four.y + ${j}u * ${TX}u) + ${w}u < width) {
            out[params[9][0] + line * width + 4u * (four.y + ${j}u * ${TX}u) + ${w}u] = x${u}_${j}[${w}];
        }
#end
#end
#for j in 0..${O_FOURS}
#for w in 0..4
        if (4u * (four.y + ${j}u * ${TX}u) + ${w}u < value_width) {
            out[params[9][1] + line * value_width + 4u * (four.y + ${j}u * ${TX}u) + ${w}u] = y${u}_${j}[${w}];
        }
#end
#end
    }
#end
}
