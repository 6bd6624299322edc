// What row_norm_grad.wgsl writes, from the mean, the root, mean(g) and mean(g · n) of each row.
// Launch: by column, a thread per part and unit of columns; else one per part and channel. Traffic: 12 bytes per element.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 3>;
@group(0) @binding(1) var<storage, read> x: array<${TYPE}>;
@group(0) @binding(2) var<storage, read> ct: array<${TYPE}>;
@group(0) @binding(3) var<storage, read> statistics: array<vec4<f32>>;
#if ${SCALE}
@group(0) @binding(4) var<storage, read> scale: array<${PARAMETER}>;
#end
@group(0) @binding(${OUT_AT}) var<storage, read_write> out: array<${TYPE}>;
#import norm_total

@compute @workgroup_size(${SIZE})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>,
        @builtin(local_invocation_index) lid: u32) {
    let wg = wid.x + wid.y * nwg.x;
    let i = wg * ${SIZE}u + lid;
    // Columns of a row, by column; else channels of an example.
    let width = params[1].x;
    if (i >= params[2].x * width) {
        return;
    }
    let own = i % width;
    let begin = i / width * params[0].w;
    let end = min(begin + params[0].w, params[0].x);
#if ${SCALE}
    let own_scale = scale[own];
#else
    let own_scale = 1.0;
#end
    var scales = ${TYPE}();
    var shifts = ${TYPE}();
    for (var example = begin; example < end; example += 1u) {
#if ${BY_COLUMN}
        let row = statistics[example];
        let at = example * width + own;
        let v = ct[at];
        let n = (x[at] - row.x) * row.y;
        scales += v * n;
        shifts += v;
        out[at] = (v * own_scale - row.z - n * row.w) * row.y;
#else
        // Channels of an example are neighbours, whatever their groups.
        let row = statistics[example * params[0].z + own / params[1].y];
        let first = (example * width + own) * params[1].z;
        var scales_block = ${TYPE}();
        var shifts_block = ${TYPE}();
        for (var at = first; at < first + params[1].z; at += 1u) {
            let v = ct[at];
            let n = (x[at] - row.x) * row.y;
            scales_block += v * n;
            shifts_block += v;
            out[at] = (v * own_scale - row.z - n * row.w) * row.y;
        }
        scales += scales_block;
        shifts += shifts_block;
#end
    }
#if ${BY_COLUMN}
#if ${SCALE}
    out[params[2].y + i] = scales;
#end
#if ${SHIFT}
    out[params[2].z + i] = shifts;
#end
#else
#if ${SCALE}
    let scaling = total(scales);
#else
    let scaling = 0.0;
#end
#if ${SHIFT}
    let shifting = total(shifts);
#else
    let shifting = 0.0;
#end
#if ${WIDTH} == 4
    out[params[2].y + i] = vec4<f32>(scaling, shifting, 0.0, 0.0);
#else
    out[params[2].y + 4u * i] = scaling;
    out[params[2].y + 4u * i + 1u] = shifting;
    out[params[2].y + 4u * i + 2u] = 0.0;
    out[params[2].y + 4u * i + 3u] = 0.0;
#end
#end
}
