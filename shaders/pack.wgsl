// out[part][tap][line] = w[line][tap] of each part, one after the other: the weights of ${COUNT} convolutions, whose lines are pairs of
// channels, as conv2d_tiled.wgsl reads them.
// Record: per part its first workgroup, lines, taps and place in out; then the number of workgroups.
// Launch: one thread per line. Traffic: 8 bytes per element.
${BINDINGS}
#import grid

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(wid, groups);
    // A workgroup is of one part.
#for r in 0..${COUNT}
    if ((index >= params[${r}][0]) & (index < params[${r} + 1][0])) {
        let lines = params[${r}][1];
        let taps = params[${r}][2];
        let line = (index - params[${r}][0]) * 64u + lane;
        if (line < lines) {
            for (var first = 0u; first < taps; first += ${CHUNK}u) {
#for i in 0..${CHUNK}
                let tap${i} = min(first + ${i}u, taps - 1u);
                let v${i} = w${r}[line * taps + tap${i}];
#end
#for i in 0..${CHUNK}
                out[params[${r}][3] + tap${i} * lines + line] = v${i};
#end
            }
        }
    }
#end
}
