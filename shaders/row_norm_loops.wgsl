// As row_norm.wgsl, for rows that threads cannot keep and for devices on which barriers are expensive: every pass reads the row again.
// With GRAD, the dx of row_norm_grad.wgsl; with PARTED only what row_norm_parts.wgsl makes it of, four numbers of each row.
// Launch: ${LANES} threads per row. Traffic: 16 bytes per element, with GRAD 24, with PARTED 16.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 2>;
@group(0) @binding(1) var<storage, read> x: array<${TYPE}>;
#if ${GRAD}
@group(0) @binding(2) var<storage, read> ct: array<${TYPE}>;
#end
#if ${SCALE}
@group(0) @binding(${SCALE_AT}) var<storage, read> scale: array<${PARAMETER}>;
#end
#if ${SHIFT}
@group(0) @binding(${SHIFT_AT}) var<storage, read> shift: array<${PARAMETER}>;
#end
#if ${PARTED}
@group(0) @binding(${OUT_AT}) var<storage, read_write> statistics: array<vec4<f32>>;
#else
@group(0) @binding(${OUT_AT}) var<storage, read_write> out: array<${TYPE}>;
#end
#if ${LANES} == 1
#import norm_total
#else
#import norm_sums PAIR=${GRAD}
#end
#import lane_sums NAME=row_sums LANES=${LANES} STEP=${ROW_STEP} SUM=${SUM} PAIR=${GRAD}

// The parameter of a unit of the row.
fn parameter(row: u32, column: u32) -> u32 {
#if ${BY_COLUMN}
    return column;
#else
    return row % params[0].z * params[0].w + column / params[1].x;
#end
}

@compute @workgroup_size(${SIZE})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>,
        @builtin(local_invocation_index) lid: u32) {
    let wg = wid.x + wid.y * nwg.x;
    let row = wg * ${ROWS}u + lid / ${LANES}u;
    let lane = lid % ${LANES}u;
    let at = min(row, params[0].x - 1u);
    let cols = params[0].y;
    let first = at * cols;
    // Sums of ${BLOCK} turns at a time: of a long row, one sum would lose the last digits.
    var mean = 0.0;
#if ${CENTRE}
    var sum = ${TYPE}();
    for (var block = lane; block < cols; block += ${BLOCK_COLS}u) {
        var sum_block = ${TYPE}();
        for (var c = block; c < min(block + ${BLOCK_COLS}u, cols); c += ${LANES}u) {
            sum_block += x[first + c];
        }
        sum += sum_block;
    }
#if ${GRAD}
    mean = row_sums(lid, vec2<f32>(total(sum), 0.0)).x * bitcast<f32>(params[1].y);
#else
    mean = row_sums(lid, total(sum)) * bitcast<f32>(params[1].y);
#end
#end
    var sum_squares = ${TYPE}();
#if ${GRAD}
    var sum_g = ${TYPE}();
    var sum_products = ${TYPE}();
#end
    for (var block = lane; block < cols; block += ${BLOCK_COLS}u) {
        var squares_block = ${TYPE}();
#if ${GRAD}
        var g_block = ${TYPE}();
        var products_block = ${TYPE}();
#end
        for (var c = block; c < min(block + ${BLOCK_COLS}u, cols); c += ${LANES}u) {
            let d = x[first + c] - mean;
            squares_block += d * d;
#if ${GRAD}
#if ${SCALE}
            let g = ct[first + c] * scale[parameter(at, c)];
#else
            let g = ct[first + c];
#end
            g_block += g;
            products_block += g * d;
#end
        }
        sum_squares += squares_block;
#if ${GRAD}
        sum_g += g_block;
        sum_products += products_block;
#end
    }
#if ${GRAD}
    let squares = row_sums(lid, vec2<f32>(total(sum_squares), total(sum_products))) * bitcast<f32>(params[1].y);
    let root = 1.0 / sqrt(squares.x + bitcast<f32>(params[1].z));
    let slope = squares.y * root;
#if ${CENTRE}
    let mean_g = row_sums(lid, vec2<f32>(total(sum_g), 0.0)).x * bitcast<f32>(params[1].y);
#else
    let mean_g = 0.0;
#end
#else
    let variance = row_sums(lid, total(sum_squares)) * bitcast<f32>(params[1].y);
    let root = 1.0 / sqrt(variance + bitcast<f32>(params[1].z));
#end
    if (row >= params[0].x) {
        return;
    }
#if ${PARTED}
    if (lane == 0u) {
        statistics[at] = vec4<f32>(mean, root, mean_g, slope);
    }
#else
    for (var c = lane; c < cols; c += ${LANES}u) {
        let n = (x[first + c] - mean) * root;
#if ${GRAD}
        out[first + c] = (ct[first + c] - mean_g - n * slope) * root;
#else
        var y = n;
#if ${SCALE}
        y *= scale[parameter(at, c)];
#end
#if ${SHIFT}
        y += shift[parameter(at, c)];
#end
        out[first + c] = y;
#end
    }
#end
}
