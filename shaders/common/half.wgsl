// Half precision by integer arithmetic: the built-in conversions may flush subnormals and round in any direction.

fn half_to_f32(x: u32) -> f32 {
    let minus = (x & 0x8000u) << 16u;
    let magnitude = x & 0x7fffu;
    if (magnitude >= 0x7c00u) {
        return from_bits_f32(minus | 0x7f800000u | ((magnitude & 0x3ffu) << 13u));
    }
    if (magnitude >= 0x400u) {
        return from_bits_f32(minus | ((magnitude << 13u) + 0x38000000u));
    }
    // Subnormal: units of 2^-24. The product is exact.
    return from_bits_f32(minus | bitcast<u32>(f32(magnitude) * 5.9604644775390625e-8f));
}

// x / 2^shift, to the nearest, ties to even.
fn round_off(x: u32, shift: u32) -> u32 {
    let down = x >> shift;
    let rest = x & ((1u << shift) - 1u);
    let middle = 1u << (shift - 1u);
    return down + select(0u, 1u, rest > middle || (rest == middle && (down & 1u) == 1u));
}

fn f32_to_half(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    let minus = (bits >> 16u) & 0x8000u;
    let magnitude = bits & 0x7fffffffu;
    if (is_nan_f32(x)) {
        return minus | 0x7e00u | ((magnitude >> 13u) & 0x3ffu);
    }
    if (magnitude >= 0x477ff000u) {
        return minus | 0x7c00u;
    }
    if (magnitude >= 0x38800000u) {
        return minus | round_off(magnitude - 0x38000000u, 13u);
    }
    if (magnitude >= 0x33000000u) {
        return minus | round_off((magnitude & 0x7fffffu) | 0x800000u, 126u - (magnitude >> 23u));
    }
    return minus;
}
