// The remainder with the divisor's sign, exact like C's fmod: long division of the mantissas, 8 bits per iteration, at most 32
// iterations.

// The mantissa with its leading bit, of a normal number.
fn mantissa_f32(x: f32) -> u32 {
    return (bitcast<u32>(x) & 0x007fffffu) | 0x00800000u;
}

fn rem_f32(a: f32, b: f32) -> f32 {
    return bitcast<f32>(remainder_f32(a, b) ^ hidden_zero_of(a));
}

// Its bits.
fn remainder_f32(a: f32, b: f32) -> u32 {
    let ua = bitcast<u32>(a) & 0x7fffffffu;
    let ub = bitcast<u32>(b) & 0x7fffffffu;
    // Subnormal numbers count as 0.
    if (!is_finite_f32(a) || is_nan_f32(b) || ub < 0x00800000u) {
        return 0x7fc00000u;
    }
    var r = abs(a);
    if (ua < 0x00800000u) {
        r = 0.0;
    } else if (ua >= ub) {
        let divisor = mantissa_f32(b);
        var m = mantissa_f32(a) % divisor;
        var left = (ua >> 23u) - (ub >> 23u);
        while (left > 0u && m > 0u) {
            let step = min(left, 8u);
            m = (m << step) % divisor;
            left -= step;
        }
        // m times the last place of b: exact. Where that is subnormal, in two factors, which neither overflow nor vanish in any order.
        let e = ub >> 23u;
        let low = e < 24u;
        r = f32(m) * bitcast<f32>((e + select(0u, 64u, low) - 23u) << 23u) * select(1.0, 5.421010862427522e-20, low);
    }
    r = select(r, -r, (bitcast<u32>(a) >> 31u) == 1u);
    return bitcast<u32>(select(r, r + b, r != 0.0 && ((r < 0.0) != (b < 0.0))));
}
