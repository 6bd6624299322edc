// ${LANES} neighbouring threads of a workgroup of ${SIZE} share a row, and agree on a maximum or a sum.
#if ${LANES} == 1
fn combine_max(id: u32, v: f32) -> f32 {
    return v;
}

fn combine_sum(id: u32, v: f32) -> f32 {
    return v;
}
#else
var<workgroup> shared_values: array<f32, ${SIZE}>;

fn combine_max(id: u32, v: f32) -> f32 {
    let lane = id % ${LANES}u;
    shared_values[id] = v;
    workgroupBarrier();
    for (var step = ${LANES}u / 2u; step > 0u; step = step / 2u) {
        if (lane < step) {
            shared_values[id] = max(shared_values[id], shared_values[id + step]);
        }
        workgroupBarrier();
    }
    let result = shared_values[id - lane];
    workgroupBarrier();
    return result;
}

fn combine_sum(id: u32, v: f32) -> f32 {
    let lane = id % ${LANES}u;
    shared_values[id] = v;
    workgroupBarrier();
    for (var step = ${LANES}u / 2u; step > 0u; step = step / 2u) {
        if (lane < step) {
            shared_values[id] += shared_values[id + step];
        }
        workgroupBarrier();
    }
    let result = shared_values[id - lane];
    workgroupBarrier();
    return result;
}
#end
