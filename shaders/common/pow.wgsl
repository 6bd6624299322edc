// a to the power b, with C's special cases: x^0 = 1^x = 1, negative bases for integer exponents only.
//
// e^(b ln a) multiplies the error of ln a by up to 88, so the logarithm is kept in two parts. The upper parts have 12 bits:
// their products are exact. Parts are cut off by masking bits, and differences are opaque, since compilers simplify (a + b) - a.

fn upper_part(x: f32) -> f32 {
    return bitcast<f32>(bitcast<u32>(x) & 0xfffff000u);
}

// The bits of |a|^b for normal a other than 1 and finite b.
fn power_of_magnitude(a: f32, b: f32) -> u32 {
    // a = 2^k m with m in [sqrt(1/2), sqrt(2)); ln m = 2 atanh(s) with s = (m - 1) / (m + 1).
    let up = bitcast<u32>(a) + 0x004afb0du;
    let k = f32(i32(up >> 23u) - 127);
    let zero = hidden_zero(k);
    let m = bitcast<f32>((up & 0x007fffffu) + 0x3f3504f3u);
    let f = m - 1.0;
    let t = m + 1.0;
    let s = f / t;
    let sh = upper_part(s);
    let th = upper_part(t);
    // The rest of f / t after sh.
    let sl = (opaque_f32(f - sh * th, zero) - sh * (m - opaque_f32(th - 1.0, zero))) / t;
    let z = s * s;
    let tail = 2.0 * sl + s * z * (0.666666667 + z * (0.4 + z * (0.285714286 + z * (0.222222222 + z * 0.181818182))));
    let whole = k * 0.693145752;
    let high = upper_part(whole + 2.0 * sh);
    let low = opaque_f32(opaque_f32(whole - high, zero) + 2.0 * sh, zero) + (k * 1.42860677e-6 + tail);
    let bh = upper_part(b);
    let main = bh * high;
    let rest = (b - bh) * high + b * low;
    let exponent = main + rest;
    if (exponent > 89.0) {
        return 0x7f800000u;
    }
    if (exponent < -104.0) {
        return 0u;
    }
    let n = round(exponent * 1.44269504);
    let r = (opaque_f32(main - n * 0.693145752, zero) - n * 1.42860677e-6) + rest;
    let p = 1.0 + r * (1.0 + r * (0.5 + r * (0.166666667 + r * (0.0416666667
        + r * (8.33333333e-3 + r * (1.38888889e-3 + r * 1.98412698e-4))))));
    return bitcast<u32>(scale_f32(p, i32(n)));
}

fn pow_f32(a: f32, b: f32) -> f32 {
    return bitcast<f32>(power_f32(a, b) ^ hidden_zero_of(a));
}

// Its bits.
fn power_f32(a: f32, b: f32) -> u32 {
    let ua = bitcast<u32>(a);
    // Subnormal numbers count as 0.
    if ((bitcast<u32>(b) & 0x7fffffffu) < 0x00800000u || ua == 0x3f800000u) {
        return 0x3f800000u;
    }
    if (is_nan_f32(a) || is_nan_f32(b)) {
        return 0x7fc00000u;
    }
    // By multiplication, so that small powers of small integers are exact.
    if (b == 1.0) {
        return ua;
    }
    if (b == 2.0) {
        return bitcast<u32>(a * a);
    }
    if (b == 3.0) {
        return bitcast<u32>(a * a * a);
    }
    let magnitude = abs(a);
    let infinity = 0x7f800000u;
    let whole = floor(b) == b;
    let odd = whole && abs(b) < 16777216.0 && (u32(min(abs(b), 16777216.0)) & 1u) == 1u;
    var y = 0u;
    if (magnitude < 1.17549435e-38) {
        y = select(0u, infinity, b < 0.0);
    } else if (!is_finite_f32(a)) {
        y = select(infinity, 0u, b < 0.0);
    } else if (magnitude == 1.0) {
        y = 0x3f800000u;
    } else if (!is_finite_f32(b)) {
        y = select(0u, infinity, (magnitude > 1.0) == (b > 0.0));
    } else {
        y = power_of_magnitude(magnitude, b);
    }
    if ((ua >> 31u) == 0u) {
        return y;
    }
    let fails = !whole && is_finite_f32(a) && magnitude >= 1.17549435e-38;
    return select(select(y, y | 0x80000000u, odd), 0x7fc00000u, fails);
}
