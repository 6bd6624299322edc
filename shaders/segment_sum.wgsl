// out[r][c] = Σ src[p][c] over the pairs (r, p) of a sorted list, in the list's order: no atomics, so reruns agree bit for bit.
// MODE starts: where each row's pairs start; MODE chunks: sums of ${CHUNK} neighbouring pairs of the same row; MODE rows: the
// rows, which use sums of whole chunks where they can, so that no thread walks a long list alone.
// Launch: one thread per row, per element of a chunk, per element of out. Traffic: 8 bytes per element of src, 4 per element of
// out.
#if ${MODE} == starts
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> pairs: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read_write> out: array<u32>;
#else
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> pairs: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> src: array<${TYPE}>;
@group(0) @binding(3) var<storage, read_write> out: array<${TYPE}>;
#if ${MODE} == rows
@group(0) @binding(4) var<storage, read> starts: array<u32>;
#if ${CHUNKED}
@group(0) @binding(5) var<storage, read> chunks: array<${TYPE}>;
#end
#end
#end
#import grid

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let total = params[0][0];
    let cols = params[0][1];
    let e = linear_workgroup(wid, groups) * 64u + lane;
    if (e >= total) {
        return;
    }
#if ${MODE} == starts
    var low = 0u;
    var high = params[0][2];
    while (low < high) {
        let middle = (low + high) / 2u;
        if (pairs[middle].x < e) {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    out[e] = low;
#end
#if ${MODE} == chunks
    let first = e / cols * ${CHUNK}u;
    let col = e % cols;
    if (pairs[first].x != pairs[first + ${CHUNK}u - 1u].x) {
        return;
    }
    var sum = ${TYPE}();
    for (var p = first; p < first + ${CHUNK}u; p++) {
        sum += src[pairs[p].y * cols + col];
    }
    out[e] = sum;
#end
#if ${MODE} == rows
    let row = e / cols;
    let col = e % cols;
    let end = starts[row + 1u];
    var sum = ${TYPE}();
    var p = starts[row];
    while (p < end) {
#if ${CHUNKED}
        if (p % ${CHUNK}u == 0u && p + ${CHUNK}u <= end) {
            sum += chunks[p / ${CHUNK}u * cols + col];
            p += ${CHUNK}u;
            continue;
        }
#end
        sum += src[pairs[p].y * cols + col];
        p++;
    }
    out[e] = sum;
#end
}
