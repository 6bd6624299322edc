// out[z][r][c] = epilogue(Σ_k lhs[z][r][k] * rhs[z][k][c]), with register tiles and without workgroup memory.
//
// A thread computes ${TM} rows by ${TN} columns; a workgroup is ${LM} threads along the rows by ${LN} along the columns.
// Rows and columns past the edge are computed from clamped addresses and not stored.
// LHS and RHS say how an operand is read: `k` as vec4 along the inner dimension, `x` as vec4 along rows (columns), `s` as
// scalars.
// Traffic per thread: 4 * (${TM} + ${TN}) bytes read per ${TM} * ${TN} multiply-adds.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, ${RECORD}>;
@group(0) @binding(1) var<storage, read> lhs: array<${LHS_TYPE}>;
@group(0) @binding(2) var<storage, read> rhs: array<${RHS_TYPE}>;
@group(0) @binding(3) var<storage, read_write> out: array<${OUT_TYPE}>;
${OPERANDS}
#import grid
${EPILOGUE_FN}

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

    // The workgroup's index as (split, batch, row tile, column tile).
    let index = linear_workgroup(wid, groups);
    var rest = min(index, count - 1u);
    let tile_n = rest % tiles_n;
    rest = rest / tiles_n;
    let tile_m = rest % tiles_m;
    rest = rest / tiles_m;
    let z = rest % batches;
    let split = rest / batches;
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
    let k_whole = k_first + ((k_last - k_first) & ~3u);

    let row = (tile_m * ${LM}u + lane % ${LM}u) * ${TM}u;
    let col = (tile_n * ${LN}u + lane / ${LM}u) * ${TN}u;
    // Where the tile's rows and columns start in memory, in units of vec4 if vec4 is read.
#if ${LHS} == x
#for i in 0..${TM4}
    let a_at${i} = (lhs_base + min(row + 4u * ${i}u, m - 4u)) >> 2u;
#end
    let a_step = lhs_k >> 2u;
#else
#for i in 0..${TM}
#if ${LHS} == k
    let a_at${i} = (lhs_base + min(row + ${i}u, m - 1u) * lhs_row) >> 2u;
#else
    let a_at${i} = lhs_base + min(row + ${i}u, m - 1u) * lhs_row;
#end
#end
#end
#if ${RHS} == x
#for j in 0..${TN4}
    let b_at${j} = (rhs_base + min(col + 4u * ${j}u, n - 4u)) >> 2u;
#end
    let b_step = rhs_k >> 2u;
#else
#for j in 0..${TN}
#if ${RHS} == k
    let b_at${j} = (rhs_base + min(col + ${j}u, n - 1u) * rhs_col) >> 2u;
#else
    let b_at${j} = rhs_base + min(col + ${j}u, n - 1u) * rhs_col;
#end
#end
#end

    var acc: array<vec4<f32>, ${TM} * ${TN4}>;
#if ${SHORT}
#if ${LHS} == x
    var a: array<vec4<f32>, 4 * ${TM4}>;
#else
    var a: array<vec4<f32>, ${TM}>;
#end
#if ${RHS} != x
    var b: array<vec4<f32>, ${TN}>;
#end
#end
    for (var k = k_first; k < k_whole; k += 4u) {
        // lhs: a[row][k], or with x: a[k * ${TM4} + row / 4][row % 4]. rhs likewise.
#if ${LHS} == x
#if ${SHORT} == 0
        var a: array<vec4<f32>, 4 * ${TM4}>;
#end
#for kk in 0..4
#for i in 0..${TM4}
        a[${kk} * ${TM4} + ${i}] = lhs[a_at${i} + (k + ${kk}u) * a_step];
#end
#end
#else
#if ${SHORT} == 0
        var a: array<vec4<f32>, ${TM}>;
#end
#for i in 0..${TM}
#if ${LHS} == k
        a[${i}] = lhs[a_at${i} + (k >> 2u)];
#else
#for kk in 0..4
        a[${i}][${kk}] = lhs[a_at${i} + (k + ${kk}u) * lhs_k];
#end
#end
#end
#end
#if ${RHS} != x
#if ${SHORT} == 0
        var b: array<vec4<f32>, ${TN}>;
#end
#for j in 0..${TN}
#if ${RHS} == k
        b[${j}] = rhs[b_at${j} + (k >> 2u)];
#else
#for kk in 0..4
        b[${j}][${kk}] = rhs[b_at${j} + (k + ${kk}u) * rhs_k];
#end
#end
#end
#end
#for kk in 0..4
#for j in 0..${TN4}
#if ${RHS} == x
        let v${j}_${kk} = rhs[b_at${j} + (k + ${kk}u) * b_step];
#else
        let v${j}_${kk} = vec4<f32>(b[4 * ${j}][${kk}], b[4 * ${j} + 1][${kk}], b[4 * ${j} + 2][${kk}], b[4 * ${j} + 3][${kk}]);
#end
#for i in 0..${TM}
#if ${LHS} == x
        acc[${i} * ${TN4} + ${j}] = fma(vec4<f32>(a[${kk} * ${TM4} + ${i} / 4][${i} % 4]), v${j}_${kk}, acc[${i} * ${TN4} + ${j}]);
#else
        acc[${i} * ${TN4} + ${j}] = fma(vec4<f32>(a[${i}][${kk}]), v${j}_${kk}, acc[${i} * ${TN4} + ${j}]);
#end
#end
#end
#end
    }
#if ${TAIL}
    // The last one to three elements of the inner dimension.
#if ${SHORT}
    {
#if ${LHS} == x
    var a: array<vec4<f32>, ${TM4}>;
#else
    var a: array<f32, ${TM}>;
#end
#if ${RHS} == x
    var b: array<vec4<f32>, ${TN4}>;
#else
    var b: array<f32, ${TN}>;
#end
#end
    for (var k = k_whole; k < k_last; k++) {
#if ${LHS} == x
#if ${SHORT} == 0
        var a: array<vec4<f32>, ${TM4}>;
#end
#for i in 0..${TM4}
        a[${i}] = lhs[a_at${i} + k * a_step];
#end
#else
#if ${SHORT} == 0
        var a: array<f32, ${TM}>;
#end
#for i in 0..${TM}
        a[${i}] = lhs[a_at${i} + k * lhs_k];
#end
#end
#if ${RHS} == x
#if ${SHORT} == 0
        var b: array<vec4<f32>, ${TN4}>;
#end
#for j in 0..${TN4}
        b[${j}] = rhs[b_at${j} + k * b_step];
#end
#else
#if ${SHORT} == 0
        var b: array<f32, ${TN}>;
#end
#for j in 0..${TN}
        b[${j}] = rhs[b_at${j} + k * rhs_k];
#end
#end
#for j in 0..${TN4}
#if ${RHS} == x
        let v${j} = b[${j}];
#else
        let v${j} = vec4<f32>(b[4 * ${j}], b[4 * ${j} + 1], b[4 * ${j} + 2], b[4 * ${j} + 3]);
#end
#for i in 0..${TM}
#if ${LHS} == x
        acc[${i} * ${TN4} + ${j}] = fma(vec4<f32>(a[${i} / 4][${i} % 4]), v${j}, acc[${i} * ${TN4} + ${j}]);
#else
        acc[${i} * ${TN4} + ${j}] = fma(vec4<f32>(a[${i}]), v${j}, acc[${i} * ${TN4} + ${j}]);
#end
#end
#end
    }
#if ${SHORT}
    }
#end
#end

    let base = (split * batches + z) * m * n;
    let here = index < count;
#for i in 0..${TM}
    if (here && row + ${i}u < m) {
        let at = base + (row + ${i}u) * n + col;
#for j in 0..${TN4}
#if ${OUT} == x
        if (col + 4u * ${j}u < n) {
            out[(at + 4u * ${j}u) >> 2u] = acc[${i} * ${TN4} + ${j}];
        }
#else
#for u in 0..4
        if (col + 4u * ${j}u + ${u}u < n) {
            out[at + 4u * ${j}u + ${u}u] = acc[${i} * ${TN4} + ${j}][${u}];
        }
#end
#end
#end
    }
#end
#if ${EPILOGUE}
    // Reading the thread's own results back keeps one copy of the epilogue in the source; unrolled, it would double compile time.
    let rows = select(0u, min(m - min(row, m), ${TM}u), here);
    let cols = min(n - min(col, n), ${TN}u);
    for (var r = 0u; r < rows; r++) {
        let first = base + (row + r) * n + col;
#if ${OUT} == x
        for (var i = first; i < first + cols; i += 4u) {
            let v = out[i >> 2u];
            out[i >> 2u] = ${RESULT};
        }
#else
        for (var i = first; i < first + cols; i++) {
            let v = out[i];
            out[i] = ${RESULT};
        }
#end
    }
#end
}
