// out[i] = epilogue(i, Σ_s parts[s * len + i]): the second pass of products that split their inner dimension.
// The order of the sum is fixed, so reruns agree bit for bit.
// Launch: one thread per element. Traffic: 4 * splits bytes read and 4 written per element.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, ${RECORD}>;
@group(0) @binding(1) var<storage, read> parts: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<${OUT_TYPE}>;
${OPERANDS}${SUMS_OPERAND}
#import grid
${EPILOGUE_FN}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let len = params[0][0];
    let splits = params[0][1];
    let i = linear_workgroup(wid, groups) * 64u + lane;
    let at = min(i, len - 1u);
    var v = 0.0;
    for (var s = 0u; s < splits; s++) {
        v += parts[s * len + at];
    }
    if (i < len) {
        out[i] = ${RESULT};
    }
#if ${SUMS}
    // Threads past the results add up the parts of sums that the product wrote besides.
    let lines = params[0][2];
    if (i >= len && i - len < lines) {
        var sum = 0.0;
        for (var part = 0u; part < splits; part++) {
            sum += sum_parts[part * lines + i - len];
        }
        sums[i - len] = sum;
    }
#end
}
