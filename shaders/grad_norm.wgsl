// Clipping by norm, second of two kernels: the gate of the update, with min(1, limit / (norm + 1e-6)) as its third number.
// Launch: one workgroup. Traffic: 8 bytes per block.
#import coefficients
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> blocks: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> coefficients: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> parts: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read_write> clipped: array<f32>;
#if ${GATED}
@group(0) @binding(5) var<storage, read> gate: array<f32>;
#end
#import fold

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    var sum = vec4<u32>();
    for (var i = lane; i < params[0][0]; i += 256u) {
        sum = vec4<u32>(joined(sum.xy, parts[i]), 0u, 0u);
    }
    fold(lane, sum);
    if (lane == 0u) {
        let limit = coefficients_of(blocks[0].z * ${PER_ENTRY}u).limit;
        let factor = limit / (root_of(folded[0].xy) + 1e-6);
#if ${GATED}
        clipped[0] = gate[0];
        clipped[1] = gate[1];
#else
        clipped[0] = 1.0;
        clipped[1] = 0.0;
#end
        // NaN is kept.
        let nan = (bitcast<u32>(factor) << 1u) > 0xff000000u;
        clipped[2] = select(factor, 1.0, factor >= 1.0 && !nan);
    }
}
