// The states before the first step of a recurrent layer, into its record. A thread copies an element of each.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, ${RECORD}>;
${BINDINGS}
#import grid

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = linear_workgroup(wid, groups) * 64u + lane;
    if (i >= params[0][0]) {
        return;
    }
    out[params[0][1] + i] = b2[i];
#if ${CELL} == lstm
    out[params[0][2] + i] = b3[i];
#end
}
