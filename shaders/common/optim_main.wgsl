// One workgroup a block; neighbouring threads take neighbouring elements.
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(wid, groups);
    if (index >= params[0][0]) {
        return;
    }
    let block = blocks[index];
    let c = coefficients[block.z];
    for (var i = lane; i < block.w; i += ${LANES}u) {
        let at = block.y + i;
        let w = parameters[block.x + i];
        // In this order: scale the gradient, add L2 decay, shrink the weight, update.
        let g = gradients[at] * c.grad_scale + c.l2 * w;
        parameters[block.x + i] = w * c.shrink - update(c, at, g);
    }
}
