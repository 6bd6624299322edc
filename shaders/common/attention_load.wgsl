
// Elements column .. column + 4 of the row of b${X} that starts at `at`; 0 past its `width` elements.
fn four_of_${X}(at: u32, column: u32, width: u32) -> vec4<f32> {
#if ${WIDE}
    return select(vec4<f32>(), b${X}[(at + min(column, width - 4u)) >> 2u], vec4<bool>(column < width));
#else
    let last = width - 1u;
    let v = vec4<f32>(b${X}[at + min(column, last)], b${X}[at + min(column + 1u, last)], b${X}[at + min(column + 2u, last)],
        b${X}[at + min(column + 3u, last)]);
    return select(vec4<f32>(), v, vec4<u32>(column, column + 1u, column + 2u, column + 3u) < vec4<u32>(width));
#end
}
