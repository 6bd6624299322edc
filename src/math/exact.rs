//! Functions in f64, to full precision, and of integers: short enough to be trusted by reading.

use super::portable::{exp, log1p};

/// -1, 0 or 1; 0 for NaN.
pub(crate) fn sign(x: f64) -> f64 {
    f64::from(i8::from(x > 0.0) - i8::from(x < 0.0))
}

/// `max(x, 0)`; NaN stays.
pub(crate) fn relu(x: f64) -> f64 {
    if x <= 0.0 { 0.0 } else { x }
}

/// The smaller; NaN if either is.
pub(crate) fn minimum(a: f64, b: f64) -> f64 {
    if a.is_nan() || a < b { a } else { b }
}

/// The larger; NaN if either is.
pub(crate) fn maximum(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

/// `a - b·floor(a/b)`, with the divisor's sign.
pub(crate) fn rem(a: f64, b: f64) -> f64 {
    let r = a % b;
    if r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r }
}

/// `1 / (1 + e⁻ˣ)` without overflow.
pub(crate) fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + exp(-x))
    } else {
        let e = exp(x);
        e / (1.0 + e)
    }
}

/// `ln(1 + eˣ)` without overflow.
pub(crate) fn softplus(x: f64) -> f64 {
    x.max(0.0) + log1p(exp(-x.abs()))
}

/// The Gauss error function `2/√π ∫₀ˣ e^(-t²) dt`, to full f64 precision.
///
/// Abramowitz and Stegun: 7.1.6, a series of positive terms, up to 2.5; beyond it `1 - erfc` by the continued fraction
/// 7.1.14, evaluated from its tail.
pub(crate) fn erf(x: f64) -> f64 {
    let a = x.abs();
    if a.is_nan() {
        return x;
    }
    let y = if a < 2.5 {
        let (mut term, mut sum, mut n) = (a, a, 0.0);
        while term > sum * 1e-18 {
            n += 1.0;
            term *= 2.0 * a * a / (2.0 * n + 1.0);
            sum += term;
        }
        std::f64::consts::FRAC_2_SQRT_PI * exp(-a * a) * sum
    } else if a < 6.0 {
        let mut tail = a;
        for k in (1..=60).rev() {
            tail = a + f64::from(k) * 0.5 / tail;
        }
        1.0 - exp(-a * a) * (0.5 * std::f64::consts::FRAC_2_SQRT_PI) / tail
    } else {
        1.0
    };
    y.copysign(x)
}

/// `a / b`, truncated; 0 where b is.
#[inline(always)]
pub(crate) fn div_i32(a: i32, b: i32) -> i32 {
    if b == 0 { 0 } else { a.wrapping_div(b) }
}

/// The remainder with the divisor's sign; 0 where the divisor is.
#[inline(always)]
pub(crate) fn rem_i32(a: i32, b: i32) -> i32 {
    let r = if b == 0 { 0 } else { a.wrapping_rem(b) };
    if r != 0 && (r < 0) != (b < 0) { r + b } else { r }
}

/// Integer power; a negative exponent truncates the fraction to 0, except for bases 1 and -1.
#[inline(always)]
pub(crate) fn pow_i32(a: i32, b: i32) -> i32 {
    match (u32::try_from(b), a) {
        (Ok(b), _) => a.wrapping_pow(b),
        (Err(_), 1) => 1,
        (Err(_), -1) => 1 - 2 * (b & 1),
        (Err(_), _) => 0,
    }
}
