
// Writes four units from index `at` on, or as many as there are: `last` more than one.
fn keep(at: u32, four: vec4<f32>, last: u32) {
#if ${WIDE}
    out[at >> 2u] = four;
#else
    out[at] = four.x;
    if (last > 0u) {
        out[at + 1u] = four.y;
    }
    if (last > 1u) {
        out[at + 2u] = four.z;
    }
    if (last > 2u) {
        out[at + 3u] = four.w;
    }
#end
}
