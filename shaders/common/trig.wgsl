// sin, cos and tan to about 2 ulp for every finite x, NaN for others: reduction to [-pi/4, pi/4] and Taylor series.

// Word n of 2/pi as a binary fraction, counted from a word of zeros.
fn two_over_pi(word: u32) -> u32 {
    switch word {
        case 1u: { return 0xa2f9836eu; }
        case 2u: { return 0x4e441529u; }
        case 3u: { return 0xfc2757d1u; }
        case 4u: { return 0xf534ddc0u; }
        case 5u: { return 0xdb629599u; }
        case 6u: { return 0x3c439041u; }
        case 7u: { return 0xfe5163abu; }
        default: { return 0u; }
    }
}

// The upper half of a 64-bit product.
fn mul_high(a: u32, b: u32) -> u32 {
    let al = a & 0xffffu;
    let ah = a >> 16u;
    let bl = b & 0xffffu;
    let bh = b >> 16u;
    let low = al * bl;
    let mid = ah * bl + (low >> 16u);
    let mid2 = al * bh + (mid & 0xffffu);
    return ah * bh + (mid >> 16u) + (mid2 >> 16u);
}

struct Quadrant {
    // The angle left over, in [-pi/4, pi/4].
    r: f32,
    // How many quarter turns were subtracted; only its value modulo 4 matters.
    q: u32,
}

// Payne-Hanek reduction for |x| >= 2^-7: the bits of x * 2/pi around the binary point, in integer arithmetic.
fn reduce_large(x: f32) -> Quadrant {
    let bits = bitcast<u32>(x);
    let m = (bits & 0x007fffffu) | 0x00800000u;
    // The bits of 2/pi (with a word of zeros in front) up to here only add whole turns.
    let skip = ((bits >> 23u) & 0xffu) - 120u;
    let by = skip & 31u;
    let back = (32u - by) & 31u;
    let w0 = two_over_pi(skip >> 5u);
    let w1 = two_over_pi((skip >> 5u) + 1u);
    let w2 = two_over_pi((skip >> 5u) + 2u);
    let w3 = two_over_pi((skip >> 5u) + 3u);
    let f0 = select((w0 << by) | (w1 >> back), w0, by == 0u);
    let f1 = select((w1 << by) | (w2 >> back), w1, by == 0u);
    let f2 = select((w2 << by) | (w3 >> back), w2, by == 0u);
    let carry = mul_high(m, f2);
    let s1 = m * f1 + carry;
    // Whole turns are lost to overflow; two bits of quadrant are left, then the fraction of a quarter turn.
    let s0 = m * f0 + mul_high(m, f1) + select(0u, 1u, s1 < carry);
    var q = s0 >> 30u;
    var hi = (s0 << 2u) | (s1 >> 30u);
    var lo = s1 << 2u;
    let above = (hi >> 31u) == 1u;
    if (above) {
        q += 1u;
        hi = ~hi + select(0u, 1u, lo == 0u);
        lo = ~lo + 1u;
    }
    let zeros = countLeadingZeros(hi);
    let shifted = (hi << (zeros & 31u)) | select(0u, lo >> ((32u - zeros) & 31u), zeros > 0u);
    let top = select(shifted, lo, zeros >= 32u);
    let r = f32(top) * bitcast<f32>((95u - zeros) << 23u) * 1.57079633;
    let negative = (bits >> 31u) == 1u;
    return Quadrant(select(r, -r, above != negative), select(q, 0u - q, negative));
}

fn reduce_angle(x: f32) -> Quadrant {
    // For larger x, what the parts omit of pi/2 matters near its multiples: 2 ULP at 1,000, and hundreds at 12,000.
    if (abs(x) < 256.0) {
        // pi/2 in parts of few bits, so that n times each is exact; compilers would add them up.
        let n = round(x * 0.636619772);
        let zero = hidden_zero(n);
        let r = opaque_f32(opaque_f32(x - n * 1.5703125, zero) - n * 4.83751297e-4, zero) - n * 7.54978995e-8;
        return Quadrant(r, u32(i32(n)) & 3u);
    }
    return reduce_large(x);
}

fn sin_series(r: f32) -> f32 {
    let z = r * r;
    return r + r * z * (-0.166666667 + z * (8.33333333e-3 + z * (-1.98412698e-4 + z * 2.75573192e-6)));
}

fn cos_series(r: f32) -> f32 {
    let z = r * r;
    return 1.0 - 0.5 * z + z * z * (0.0416666667 + z * (-1.38888889e-3 + z * (2.48015873e-5 - z * 2.75573192e-7)));
}

fn sin_quadrant(r: f32, q: u32) -> f32 {
    let y = select(sin_series(r), cos_series(r), (q & 1u) == 1u);
    return select(y, -y, (q & 2u) == 2u);
}

fn sin_f32(x: f32) -> f32 {
    let a = reduce_angle(x);
    return where_defined_f32(sin_quadrant(a.r, a.q), is_finite_f32(x), x);
}

fn cos_f32(x: f32) -> f32 {
    let a = reduce_angle(x);
    return where_defined_f32(sin_quadrant(a.r, a.q + 1u), is_finite_f32(x), x);
}

fn tan_f32(x: f32) -> f32 {
    let a = reduce_angle(x);
    return where_defined_f32(sin_quadrant(a.r, a.q) / sin_quadrant(a.r, a.q + 1u), is_finite_f32(x), x);
}
