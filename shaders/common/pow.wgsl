// a to the power b, with C's special cases: x^0 = 1, negative bases for integer exponents only.

fn pow_f32(a: f32, b: f32) -> f32 {
    if (b == 0.0 || a == 1.0) {
        return 1.0;
    }
    if (is_nan_f32(a) || is_nan_f32(b)) {
        return a + b;
    }
    let whole = floor(b) == b;
    if (whole && abs(b) <= 64.0) {
        // Repeated squaring: small integer powers of small integers are exact.
        var n = u32(abs(b));
        var base = a;
        var product = 1.0;
        while (n > 0u) {
            if ((n & 1u) == 1u) {
                product *= base;
            }
            base *= base;
            n >>= 1u;
        }
        return select(product, 1.0 / product, b < 0.0);
    }
    if (a < 0.0 && !whole) {
        return from_bits_f32(0x7fc00000u);
    }
    let magnitude = exp_f32(b * log_f32(abs(a)));
    let odd = whole && abs(b) < 16777216.0 && (u32(abs(b)) & 1u) == 1u;
    return select(magnitude, -magnitude, a < 0.0 && odd);
}
