// y = (x - mean) / √(variance + eps) · scale + shift, where mean and variance are those of a row; without CENTRE, x / √(mean(x²) + eps)
// · scale. Rows count examples, and groups of each; the columns of a row are channels, each of some positions.
// Launch: ${LANES} threads per row, ${ROWS} rows at a time; a workgroup has a part of one group's examples. Each thread keeps its
// values of a row, and as KEPT_SCALE and KEPT_SHIFT say its parameters. Traffic: 8 bytes per element, 8 per parameter and part; 8 more
// per element if they are not kept.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 3>;
@group(0) @binding(1) var<storage, read> x: array<${TYPE}>;
#if ${SCALE}
@group(0) @binding(2) var<storage, read> scale: array<${PARAMETER}>;
#end
#if ${SHIFT}
@group(0) @binding(${SHIFT_AT}) var<storage, read> shift: array<${PARAMETER}>;
#end
@group(0) @binding(${OUT_AT}) var<storage, read_write> out: array<${TYPE}>;
#import norm_sums PAIR=0
#import lane_sums NAME=row_sums LANES=${LANES} STEP=${ROW_STEP} SUM=f32 PAIR=0

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
#if ${KEPT_SHIFT}
    var shift${b}_${k} = ${TYPE}();
    if (on${b}_${k}) {
        shift${b}_${k} = shift[at${b}_${k}];
    }
#end
#end
#else
    let parameter${b} = group * params[1].x + min(channel${b}, params[1].x - 1u);
#if ${SCALE}
    let scale${b} = scale[parameter${b}];
#end
#if ${SHIFT}
    let shift${b} = shift[parameter${b}];
#end
#end
#end
    for (var i = 0u; i < end; i += ${ROWS}u) {
        let example = begin + i + lid / ${LANES}u;
        let first = (min(example, params[0].x - 1u) * params[0].z + group) * params[0].y;
#for b in 0..${BATCHES}
#for k in 0..${LOADS}
        var v${b}_${k} = ${TYPE}();
        if (on${b}_${k}) {
            v${b}_${k} = x[first + at${b}_${k}];
        }
#end
#end
        var sum = ${TYPE}();
#if ${CENTRE}
#for b in 0..${BATCHES}
#for k in 0..${LOADS}
        sum += v${b}_${k};
#end
#end
        let mean = row_sums(lid, total(sum)) * bitcast<f32>(params[1].z);
        sum = ${TYPE}();
#for b in 0..${BATCHES}
#for k in 0..${LOADS}
        v${b}_${k} = select(${TYPE}(), v${b}_${k} - mean, on${b}_${k});
#end
#end
#end
#for b in 0..${BATCHES}
#for k in 0..${LOADS}
        sum += v${b}_${k} * v${b}_${k};
#end
#end
        let variance = row_sums(lid, total(sum)) * bitcast<f32>(params[1].z);
        let root = 1.0 / sqrt(variance + bitcast<f32>(params[1].w));
        if (i + lid / ${LANES}u < end) {
#for b in 0..${BATCHES}
#for k in 0..${LOADS}
            if (on${b}_${k}) {
                var y = v${b}_${k} * root;
#if ${SCALE}
#if ${BY_COLUMN}
#if ${KEPT_SCALE}
                y *= scale${b}_${k};
#else
                y *= scale[at${b}_${k}];
#end
#else
                y *= scale${b};
#end
#end
#if ${SHIFT}
#if ${BY_COLUMN}
#if ${KEPT_SHIFT}
                y += shift${b}_${k};
#else
                y += shift[at${b}_${k}];
#end
#else
                y += shift${b};
#end
#end
                out[first + at${b}_${k}] = y;
            }
#end
#end
        }
    }
}
