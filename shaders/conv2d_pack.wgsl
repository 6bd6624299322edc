// packed[group][i][tap][o] = w at group, input channel i, output channel o, tap (reversed where params[2][0] is 1); channels o
// past the end are 0. This makes a convolution's weights readable as vec4 along the channels that a thread computes.
// Launch: one thread per element. Traffic: 8 bytes per element.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 3>;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
#import grid

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let len = params[0][0];
    let inputs = params[0][1];
    let outputs = params[0][2];
    let padded = params[0][3];
    let taps = params[1][0];
    let group_stride = params[1][1];
    let in_stride = params[1][2];
    let out_stride = params[1][3];
    let index = linear_workgroup(wid, groups) * 64u + lane;
    var rest = min(index, len - 1u);
    let o = rest % padded;
    rest = rest / padded;
    var tap = rest % taps;
    rest = rest / taps;
    let i = rest % inputs;
    let group = rest / inputs;
    if (params[2][0] == 1u) {
        tap = taps - 1u - tap;
    }
    let first = params[2][2] + group * group_stride + i * in_stride;
    let at = first + min(o, outputs - 1u) * out_stride + tap * params[2][1];
    let v = select(0.0, w[at], o < outputs);
    if (index < len) {
        out[index] = v;
    }
}
