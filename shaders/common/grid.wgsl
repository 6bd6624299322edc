// The linear workgroup index of a folded grid: grids of more than 65,535 workgroups have a second dimension.
fn linear_workgroup(wid: vec3<u32>, groups: vec3<u32>) -> u32 {
    return wid.x + wid.y * groups.x;
}
