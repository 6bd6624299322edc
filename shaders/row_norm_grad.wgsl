// out = dx, then sums over the examples of parts: with g = ct · scale and n = (x - mean) / √(variance + eps),
// dx = (g - mean(g) - n · mean(g · n)) / √(variance + eps), without CENTRE less mean(g); the sums of ct · n are the scale's, those
// of ct the shift's. By column, a part has them for all columns; else four elements for each channel, the last two 0.
// Launch: ${LANES} threads per row, ${ROWS} rows at a time; a workgroup has a part of one group's examples. Each thread keeps its
// values of a row, its sums and, with KEPT_SCALE, its parameters. Traffic: 12 bytes per element, 12 per parameter and part; 4 more per
// element without KEPT_SCALE.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 3>;
@group(0) @binding(1) var<storage, read> x: array<${TYPE}>;
@group(0) @binding(2) var<storage, read> ct: array<${TYPE}>;
#if ${SCALE}
@group(0) @binding(3) var<storage, read> scale: array<${PARAMETER}>;
#end
@group(0) @binding(${OUT_AT}) var<storage, read_write> out: array<${TYPE}>;
#import norm_sums PAIR=1
#import lane_sums NAME=row_sums LANES=${LANES} STEP=${ROW_STEP} SUM=vec2<f32> PAIR=1
#if ${PARTED}

// The sum of what the threads of a column have in all rows at a time.
fn column_sum(lid: u32, own: f32) -> f32 {
#if ${ROWS} == 1
    return own;
#else
    workgroupBarrier();
    more_a[lid] = own;
    workgroupBarrier();
    var sum = 0.0;
    for (var i = lid % ${LANES}u; i < ${SIZE}u; i += ${LANES}u) {
        sum += more_a[i];
    }
    return sum;
#end
}

#if ${BY_COLUMN}
fn column_sums(lid: u32, own: ${TYPE}) -> ${TYPE} {
#if ${WIDTH} == 4
    let x = column_sum(lid, own.x);
    let y = column_sum(lid, own.y);
    let z = column_sum(lid, own.z);
    return vec4<f32>(x, y, z, column_sum(lid, own.w));
#else
    return column_sum(lid, own);
#end
}
#else
#import lane_sums NAME=channel_sums LANES=${PLACES} STEP=${CHANNEL_STEP} SUM=vec2<f32> PAIR=1
#end
#end

@compute @workgroup_size(${SIZE})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>,
        @builtin(local_invocation_index) lid: u32) {
    let wg = wid.x + wid.y * nwg.x;
#import norm_place
#for b in 0..${BATCHES}
#if ${BY_COLUMN}
#for k in 0..${LOADS}
#if ${KEPT_SCALE}
    var scale${b}_${k} = ${TYPE}();
    if (on${b}_${k}) {
        scale${b}_${k} = scale[at${b}_${k}];
    }
#end
#if ${PARTED}
    var scales${b}_${k} = ${TYPE}();
    var shifts${b}_${k} = ${TYPE}();
#end
#end
#else
#if ${SCALE}
    let scale${b} = scale[group * params[1].x + min(channel${b}, params[1].x - 1u)];
#end
#if ${PARTED}
    var scales${b} = 0.0;
    var shifts${b} = 0.0;
#end
#end
#end
    for (var i = 0u; i < end; i += ${ROWS}u) {
        let example = begin + i + lid / ${LANES}u;
        let is_own = i + lid / ${LANES}u < end;
        let first = (min(example, params[0].x - 1u) * params[0].z + group) * params[0].y;
#for b in 0..${BATCHES}
#for k in 0..${LOADS}
        var d${b}_${k} = ${TYPE}();
        var ct${b}_${k} = ${TYPE}();
        if (on${b}_${k}) {
            d${b}_${k} = x[first + at${b}_${k}];
            ct${b}_${k} = ct[first + at${b}_${k}];
        }
#if ${LOADED_SCALE}
        var scale${b}_${k} = ${TYPE}();
        if (on${b}_${k}) {
            scale${b}_${k} = scale[at${b}_${k}];
        }
#end
#end
#end
        var sum_x = ${TYPE}();
        var sum_g = ${TYPE}();
#if ${CENTRE}
#for b in 0..${BATCHES}
#if ${SCALE_BY_COLUMN}
#else
        var own${b} = ${TYPE}();
#end
#for k in 0..${LOADS}
        sum_x += d${b}_${k};
#if ${SCALE_BY_COLUMN}
        sum_g = fma(ct${b}_${k}, scale${b}_${k}, sum_g);
#else
        own${b} += ct${b}_${k};
#end
#end
#if ${SCALE_BY_COLUMN}
#else
#if ${SCALE}
        sum_g += own${b} * scale${b};
#else
        sum_g += own${b};
#end
#end
#end
        let means = row_sums(lid, vec2<f32>(total(sum_x), total(sum_g))) * bitcast<f32>(params[1].z);
        sum_x = ${TYPE}();
        sum_g = ${TYPE}();
#for b in 0..${BATCHES}
#for k in 0..${LOADS}
        d${b}_${k} = select(${TYPE}(), d${b}_${k} - means.x, on${b}_${k});
#end
#end
#end
#for b in 0..${BATCHES}
#if ${SCALE_BY_COLUMN}
#else
#if ${CENTRE}
        own${b} = ${TYPE}();
#else
        var own${b} = ${TYPE}();
#end
#end
#for k in 0..${LOADS}
        sum_x += d${b}_${k} * d${b}_${k};
#if ${SCALE_BY_COLUMN}
        sum_g = fma(ct${b}_${k} * d${b}_${k}, scale${b}_${k}, sum_g);
#else
        own${b} += ct${b}_${k} * d${b}_${k};
#end
#end
#if ${SCALE_BY_COLUMN}
#else
#if ${SCALE}
        sum_g += own${b} * scale${b};
#else
        sum_g += own${b};
#end
#end
#end
        let squares = row_sums(lid, vec2<f32>(total(sum_x), total(sum_g))) * bitcast<f32>(params[1].z);
        let root = 1.0 / sqrt(squares.x + bitcast<f32>(params[1].w));
        // mean(g · n).
        let slope = squares.y * root;
        if (is_own) {
#for b in 0..${BATCHES}
#for k in 0..${LOADS}
            let n${b}_${k} = d${b}_${k} * root;
#if ${PARTED}
#if ${BY_COLUMN}
            scales${b}_${k} += ct${b}_${k} * n${b}_${k};
            shifts${b}_${k} += ct${b}_${k};
#else
            scales${b} += total(ct${b}_${k} * n${b}_${k});
            shifts${b} += total(ct${b}_${k});
#end
#end
            if (on${b}_${k}) {
#if ${CENTRE}
                let less${b}_${k} = means.y + n${b}_${k} * slope;
#else
                let less${b}_${k} = n${b}_${k} * slope;
#end
#if ${SCALE_BY_COLUMN}
                out[first + at${b}_${k}] = fma(ct${b}_${k}, scale${b}_${k}, -less${b}_${k}) * root;
#else
#if ${SCALE}
                out[first + at${b}_${k}] = (ct${b}_${k} * scale${b} - less${b}_${k}) * root;
#else
                out[first + at${b}_${k}] = (ct${b}_${k} - less${b}_${k}) * root;
#end
#end
            }
#end
#end
        }
    }
#if ${PARTED}
#for b in 0..${BATCHES}
#if ${BY_COLUMN}
#for k in 0..${LOADS}
#if ${SCALE}
    let all_scales${b}_${k} = column_sums(lid, scales${b}_${k});
    if (on${b}_${k} && lid < ${LANES}u) {
        out[params[2].y + wg * params[0].y + at${b}_${k}] = all_scales${b}_${k};
    }
#end
#if ${SHIFT}
    let all_shifts${b}_${k} = column_sums(lid, shifts${b}_${k});
    if (on${b}_${k} && lid < ${LANES}u) {
        out[params[2].z + wg * params[0].y + at${b}_${k}] = all_shifts${b}_${k};
    }
#end
#end
#else
    let rows${b} = vec2<f32>(column_sum(lid, scales${b}), column_sum(lid, shifts${b}));
    let sums${b} = channel_sums(lid, rows${b});
    if (lane % ${PLACES}u == 0u && lid < ${LANES}u && channel${b} < params[1].x) {
        let part${b} = (wg / params[0].z * params[0].z + group) * params[1].x + channel${b};
#if ${SCALE}
        let scaling${b} = sums${b}.x;
#else
        let scaling${b} = 0.0;
#end
#if ${SHIFT}
        let shifting${b} = sums${b}.y;
#else
        let shifting${b} = 0.0;
#end
#if ${WIDTH} == 4
        out[params[2].y + part${b}] = vec4<f32>(scaling${b}, shifting${b}, 0.0, 0.0);
#else
        out[params[2].y + 4u * part${b}] = scaling${b};
        out[params[2].y + 4u * part${b} + 1u] = shifting${b};
        out[params[2].y + 4u * part${b} + 2u] = 0.0;
        out[params[2].y + 4u * part${b} + 3u] = 0.0;
#end
    }
#end
#end
#end
}
