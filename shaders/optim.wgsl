// One step of a rule, whose `update` is below, over the parameters of one arena.
// Launch: one workgroup per block. Traffic: 12 bytes per element, 8 more per state.
#import optim

${UPDATE}
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let at = site(wid, groups, lane);
    if (at.used) {
        let c = coefficients_of(at.entry);
        let p = parameters[at.parameter];
        parameters[at.parameter] = update(at.state, c, p * c.shrink, gradient(at, c, p));
    }
}
