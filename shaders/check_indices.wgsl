// out = flag, unless its first word is 0 and an index is outside 0..len: then (call, position, index, len) of the first such index.
// MODE PARTS: the first position of each workgroup's part; MODE LAST: the flag of what the parts have; MODE WHOLE: all at once.
// Launch: one workgroup, or one per part. Traffic: 4 bytes per index.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> index: array<i32>;
#if ${MODE} == PARTS
@group(0) @binding(2) var<storage, read_write> out: array<u32>;
#else
@group(0) @binding(2) var<storage, read> flag: array<i32>;
@group(0) @binding(3) var<storage, read_write> out: array<i32>;
#if ${MODE} == LAST
@group(0) @binding(4) var<storage, read> parts: array<u32>;
#end
#end
#import grid

const NONE: u32 = 0xffffffffu;
var<workgroup> found: array<u32, ${SIZE}>;

@compute @workgroup_size(${SIZE})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let count = params[0][0];
    let each = params[0][1];
    let part = linear_workgroup(wid, groups);
    let first = min(part * each, count);
    let end = min(first + each, count);
    var lowest = NONE;
    for (var p = first + lane; p < end && lowest == NONE; p += ${SIZE}u) {
#if ${MODE} == LAST
        lowest = parts[p];
#else
        // As u32, a negative index is beyond any length.
        if (bitcast<u32>(index[p]) >= min(params[0][2], 0x80000000u)) {
            lowest = p;
        }
#end
    }
    found[lane] = lowest;
    workgroupBarrier();
    if (lane == 0u) {
        for (var k = 1u; k < ${SIZE}u; k++) {
            lowest = min(lowest, found[k]);
        }
#if ${MODE} == PARTS
        if (first < end) {
            out[part] = lowest;
        }
#else
        if (flag[0] != 0 || lowest == NONE) {
            for (var k = 0u; k < 4u; k++) {
                out[k] = flag[k];
            }
        } else {
            out[0] = bitcast<i32>(params[0][3]);
            out[1] = bitcast<i32>(lowest);
            out[2] = index[lowest];
            out[3] = bitcast<i32>(params[0][2]);
        }
#end
    }
}
