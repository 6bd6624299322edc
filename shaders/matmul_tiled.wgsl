// out[z][r][c] = epilogue(Σ_k lhs[z][r][k] * rhs[z][k][c]), with tiles of ${BM} rows by ${BN} columns in workgroup memory.
//
// While a workgroup multiplies a tile of ${BK} steps of the inner dimension, the next one is on its way into registers.
// Rows and columns past the edge are computed from clamped addresses and not stored.
// How each side comes into the tile is in tile_side.wgsl.
// Traffic: (${BM} + ${BN}) / (${BM} * ${BN}) elements read per multiply-add.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, ${RECORD}>;
@group(0) @binding(1) var<storage, read> lhs: array<${LHS_TYPE}>;
@group(0) @binding(2) var<storage, read> rhs: array<${RHS_TYPE}>;
@group(0) @binding(3) var<storage, read_write> out: array<${OUT_TYPE}>;
${OPERANDS}${SUMS_OPERAND}
#import grid
#import tile
${EPILOGUE_FN}

// Tiles are numbered in bands of this many rows of tiles, column by column, so that neighbours read the same memory.
const BAND = 8u;

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let m = params[0][0];
    let n = params[0][1];
    let k_total = params[0][2];
    let k_part = params[0][3];
    let tiles_m = params[1][0];
    let tiles_n = params[1][1];
    let count = params[1][2];
    let batches = params[1][3];
    let lhs_row = params[2][0];
    let lhs_k = params[2][1];
    let rhs_k = params[2][2];
    let rhs_col = params[2][3];

    // The workgroup's index as (split, batch, tile).
    let index = linear_workgroup(wid, groups);
    var rest = min(index, count - 1u);
    let tile = rest % (tiles_m * tiles_n);
    rest = rest / (tiles_m * tiles_n);
    let z = rest % batches;
    let split = rest / batches;
    let band = tile / (BAND * tiles_n);
    let band_rows = min(tiles_m - band * BAND, BAND);
    let within = tile % (BAND * tiles_n);
    let first_m = (band * BAND + within % band_rows) * ${BM}u;
    let first_n = within / band_rows * ${BN}u;
    var lhs_base = params[3][0];
    var rhs_base = params[3][1];
    rest = z;
#for d in 0..${BATCH_DIMS}
    // Batch dimension ${d}, counted from the innermost: length, stride of lhs, stride of rhs.
    lhs_base += (rest % params[4 + ${d}][0]) * params[4 + ${d}][1];
    rhs_base += (rest % params[4 + ${d}][0]) * params[4 + ${d}][2];
    rest = rest / params[4 + ${d}][0];
#end
    let k_first = split * k_part;
    let k_last = min(k_first + k_part, k_total);
    // Whole tiles end here.
    let k_whole = k_last - (k_last - k_first) % ${BK}u;

    // What a thread loads of each side's tile, and where the first of it is.
${LHS_AT}${RHS_AT}    let four = four_of(lane);
#import tile_sums

    var k = k_first;
    loop {
        if (k < k_whole) {
${LHS_LOAD}${RHS_LOAD}        }
        if (k > k_first) {
#import tile_step
        }
        if (k >= k_whole) {
            break;
        }
        workgroupBarrier();
${LHS_STORE}${RHS_STORE}        workgroupBarrier();
        k += ${BK}u;
    }
#if ${TAIL}
    // The last steps, fewer than a tile holds.
    let left = k_last - k_whole;
    if (left > 0u) {
${LHS_REST}${RHS_REST}        workgroupBarrier();
${LHS_STORE}${RHS_STORE}        workgroupBarrier();
#import tile_loop STEPS=left
    }
#end

${SUMS}
    let base = (split * batches + z) * m * n;
    let here = index < count;
    let row = first_m + 4u * four.x;
    let col = first_n + 4u * four.y;
#if ${EPILOGUE} == 0
#for i in 0..${TM4}
#for u in 0..4
    if (here && row + ${i}u * 4u * ${TY}u + ${u}u < m) {
        let at = base + (row + ${i}u * 4u * ${TY}u + ${u}u) * n + col;
#for j in 0..${TN4}
#if ${OUT} == x
        if (col + ${j}u * 4u * ${TX}u < n) {
            out[(at + ${j}u * 4u * ${TX}u) >> 2u] = c${i}${u}_${j};
        }
#else
#for w in 0..4
        if (col + ${j}u * 4u * ${TX}u + ${w}u < n) {
            out[at + ${j}u * 4u * ${TX}u + ${w}u] = c${i}${u}_${j}[${w}];
        }
#end
#end
#end
    }
#end
#end
#else
    // One copy of the epilogue for all rows: unrolled, it would double compile time.
    for (var r = 0u; r < select(0u, ${TM}u, here); r++) {
#import tile_row
        let r_row = row + r / 4u * 4u * ${TY}u + r % 4u;
        if (r_row >= m) {
            continue;
        }
#for j in 0..${TN4}
        {
            let c_col = col + ${j}u * 4u * ${TX}u;
#if ${OUT} == x
            if (c_col < n) {
                let i = base + r_row * n + c_col;
                let v = v${j};
                out[i >> 2u] = ${RESULT};
            }
#else
#for w in 0..4
            if (c_col + ${w}u < n) {
                let i = base + r_row * n + c_col + ${w}u;
                let v = v${j}[${w}];
                out[i] = ${RESULT};
            }
#end
#end
        }
#end
    }
#end
}
