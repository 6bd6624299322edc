
// Four units of ${X} from index `at` on; the last of them again and again where there are fewer than `last` more.
fn four_of_${X}(at: u32, last: u32) -> vec4<f32> {
#if ${WIDE}
    return ${X}[at >> 2u];
#else
    return vec4<f32>(${X}[at], ${X}[at + min(1u, last)], ${X}[at + min(2u, last)], ${X}[at + min(3u, last)]);
#end
}
