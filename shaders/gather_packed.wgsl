// out[i][c] = table[index[i]][c] for elements of ${BITS} bits, ${PER_WORD} to a word, in rows that are not a whole number of
// words; an index out of range is clamped.
// Launch: one thread per word written. Traffic: 2 words per word written, and indices from cache.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> table: array<u32>;
@group(0) @binding(2) var<storage, read> index: array<i32>;
@group(0) @binding(3) var<storage, read_write> out: array<u32>;
#import grid

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let total = params[0][0];
    let rows = params[0][1];
    let cols = params[0][2];
    let n = linear_workgroup(wid, groups) * 64u + lane;
    if (n * ${PER_WORD}u >= total) {
        return;
    }
    var word = 0u;
    for (var k = 0u; k < ${PER_WORD}u; k++) {
        let i = n * ${PER_WORD}u + k;
        if (i < total) {
            let row = u32(clamp(index[i / cols], 0, i32(rows) - 1));
            let at = row * cols + i % cols;
            let element = (table[at / ${PER_WORD}u] >> ((at % ${PER_WORD}u) * ${BITS}u)) & ((1u << ${BITS}u) - 1u);
            word |= element << (k * ${BITS}u);
        }
    }
    out[n] = word;
}
