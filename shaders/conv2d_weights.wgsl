// packed[class][group][k][o] = w at group, output channel o, and step k of a class: tap k / inputs of its taps, input channel
// k % inputs. Steps past the last one and channels past the end are 0. The record is that of conv2d_tiled.wgsl, which reads them.
// Launch: one thread per element. Traffic: 8 bytes per element.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, ${RECORD}>;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
#import grid

const IC = ${IC}u;   // channels that a group reads
const OC = ${OC}u;   // channels that a group writes
const OCP = ${OCP}u; // as packed

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(wid, groups) * 64u + lane;
    if (index >= params[1][1]) {
        return;
    }
    let o = index % OCP;
    // The last class that starts at or before the element.
    var class_at = 2u;
    for (var c = 1u; c < ${CLASSES}u; c++) {
        if (params[2u + 2u * c][3] <= index) {
            class_at = 2u + 2u * c;
        }
    }
    let k_total = params[class_at][1];
    let row = (index - params[class_at][3]) / OCP;
    let steps = params[class_at + 1u][2];
    let k = min(row % k_total, steps - 1u);
    let group = row / k_total;
    let tap = params[${TAPS_AT}u + params[class_at][0] + k / IC];
    let at = group * ${GROUP_STRIDE}u + k % IC * ${IN_STRIDE}u + min(o, OC - 1u) * ${OUT_STRIDE}u + tap[3];
    let ok = (o < OC) & (row % k_total < steps);
    out[index] = select(0.0, w[select(0u, at, ok)], ok);
}
