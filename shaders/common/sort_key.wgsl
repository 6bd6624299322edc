// A key that orders an element's bits ascending: NaN last, -0 equal to 0.
fn key(bits: u32) -> u32 {
#if ${KEY} == float
    let magnitude = bits & 0x7fffffffu;
    let ordered = select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
    let place = select(select(ordered, 0x80000000u, magnitude == 0u), 0xffffffffu, magnitude > 0x7f800000u);
#end
#if ${KEY} == signed
    let place = bits ^ 0x80000000u;
#end
#if ${KEY} == unsigned
    let place = bits;
#end
#if ${KEY} == clamped
    let place = u32(clamp(bitcast<i32>(bits), 0, i32(params[1][0])));
#end
#if ${DESCENDING}
    return ~place;
#else
    return place;
#end
}
