// The sorted order of rows of `cols` elements: first within blocks, by counting the elements that come before (MODE block), then
// by merging pairs of runs of `run` (MODE merge). Keys are u32 in ascending order; equal keys keep their order, so the result
// does not depend on timing.
// Launch: block: one thread per element, `block` keys read by each (from cache); merge: one thread per ${T} results, 16 bytes
// each and a binary search. No workgroup memory, no barriers.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 2>;
@group(0) @binding(1) var<storage, read> src: array<${SRC_TYPE}>;
@group(0) @binding(2) var<storage, read_write> out: array<${OUT_TYPE}>;
#import grid
#if ${MODE} == block
#import sort_key
#end

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let total = params[0][0];
    let cols = params[0][1];
    let thread = linear_workgroup(wid, groups) * 64u + lane;
    if (thread >= total) {
        return;
    }
#if ${MODE} == block
    let block = params[0][2];
    let col = thread % cols;
    let row = thread - col;
    let first = col - col % block;
    let last = min(first + block, cols);
    let k = key(src[thread]);
    var place = first;
    for (var j = first; j < last; j++) {
        let other = key(src[row + j]);
        place += u32(other < k || (other == k && j < col));
    }
    let pair = vec2<u32>(k, col);
    out[row + place] = ${RESULT};
#else
    let run = params[0][2];
    let parts = params[0][3];
    let start = thread % parts * ${T}u;
    let a = start - start % (2u * run);
    let row = thread / parts * cols;
    let len_a = min(run, cols - a);
    let b = a + len_a;
    let len_b = min(run, cols - b);
    // How many of the first start - a results come from run a.
    let before = start - a;
    var low = before - min(before, len_b);
    var high = min(before, len_a);
    while (low < high) {
        let middle = (low + high) / 2u;
        if (src[row + a + middle].x <= src[row + b + before - 1u - middle].x) {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    var i = low;
    var j = before - low;
    let last = min(start + ${T}u, b + len_b);
    for (var at = start; at < last; at++) {
        let left = src[row + a + min(i, len_a - 1u)];
        let right = src[row + min(b + j, cols - 1u)];
        let take_left = j >= len_b || (i < len_a && left.x <= right.x);
        let pair = select(right, left, take_left);
        i += u32(take_left);
        j += u32(!take_left);
        out[row + at] = ${RESULT};
    }
#end
}
