//! f32 functions without branches or calls, so that loops over them vectorise. Within about 2 ulp; subnormals count as 0.

use super::portable::atan2f;

const LN2_HI: f32 = 0.693_359_4;
const LN2_LO: f32 = -2.121_944_4e-4;
/// 1.5 · 2²³: adding it rounds to an integer, which is then in the low bits.
const ROUND: f32 = 12_582_912.0;

/// `x = n·ln 2 + r` with |r| at most ln 2 / 2: n as a float and as an integer, and r.
#[inline(always)]
fn split(x: f32) -> (f32, i32, f32) {
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let whole = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    (n, whole, (x - n * LN2_HI) - n * LN2_LO)
}

/// `2ⁿ` for n in -126..=127.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) << 23) as u32)
}

/// `(eʳ - 1 - r) / r²` by its Taylor series, for |r| up to ln 2 / 2.
#[inline(always)]
fn exp_tail(r: f32) -> f32 {
    let p = 1.0 / 5040.0;
    let p = p * r + 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    p * r + 0.5
}

#[inline(always)]
fn clamp_keeping_nan(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

/// -1, 0 or 1; 0 for NaN
#[inline(always)]
pub(crate) fn sign(x: f32) -> f32 {
    f32::from(i8::from(x > 0.0) - i8::from(x < 0.0))
}

/// `max(x, 0)`; NaN stays
#[inline(always)]
pub(crate) fn relu(x: f32) -> f32 {
    if x <= 0.0 { 0.0 } else { x }
}

/// 0 or 1
#[inline(always)]
pub(crate) fn truth(b: bool) -> f32 {
    f32::from(u8::from(b))
}

/// `eˣ`
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let (_, n, r) = split(clamp_keeping_nan(x, -104.0, 89.0));
    let y = exp_tail(r) * r * r + r + 1.0;
    // Two factors, as 2ⁿ alone may leave the range.
    let half = n >> 1;
    y * power_of_two(half) * power_of_two(n - half)
}

/// `eˣ - 1`
#[inline(always)]
pub(crate) fn expm1(x: f32) -> f32 {
    let (_, n, r) = split(clamp_keeping_nan(x, -20.0, 89.0));
    let y = exp_tail(r) * r * r + r;
    // For n = 128, where 2ⁿ overflows, all is halved.
    let (scale, double) = if n > 127 { (power_of_two(127), 2.0) } else { (power_of_two(n), 1.0) };
    (y * scale + (scale - 1.0 / double)) * double
}

/// natural logarithm
#[inline(always)]
pub(crate) fn log(x: f32) -> f32 {
    // The mantissa is taken from [√½, √2), so that the exponent of numbers near 1 is 0.
    let bits = x.to_bits() as i32;
    let shifted = bits.wrapping_sub(std::f32::consts::FRAC_1_SQRT_2.to_bits() as i32);
    let n = shifted >> 23;
    let m = f32::from_bits(bits.wrapping_sub(n << 23) as u32);
    let n = n as f32;
    let f = m - 1.0;
    // ln(1 + f) = 2 artanh(s) with s = f / (2 + f).
    let s = f / (2.0 + f);
    let z = s * s;
    let p = 2.0 / 9.0;
    let p = p * z + 2.0 / 7.0;
    let p = p * z + 2.0 / 5.0;
    let p = (p * z + 2.0 / 3.0) * z;
    // 2s = f - s·f, which keeps the leading term exact.
    let y = n * LN2_HI + (f - s * (f - p) + n * LN2_LO);
    let y = if x < f32::MIN_POSITIVE { f32::NEG_INFINITY } else { y };
    let y = if x < 0.0 { f32::NAN } else { y };
    // Infinity and NaN stay as they are.
    if x < f32::INFINITY { y } else { x }
}

/// `ln(1 + x)`
#[inline(always)]
pub(crate) fn log1p(x: f32) -> f32 {
    let u = 1.0 + x;
    // What rounding lost from u, to first order.
    let correction = (x - (u - 1.0)) / u;
    let correction = if u > 0.0 && u < f32::INFINITY { correction } else { 0.0 };
    log(u) + correction
}

/// `1 / (1 + e⁻ˣ)`
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `ln(1 + eˣ)`
#[inline(always)]
pub(crate) fn softplus(x: f32) -> f32 {
    let positive = if x < 0.0 { 0.0 } else { x };
    positive + log1p(exp(-x.abs()))
}

/// hyperbolic tangent
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let e = expm1(clamp_keeping_nan(2.0 * x.abs(), 0.0, 20.0));
    let y = e / (e + 2.0);
    f32::from_bits(y.to_bits() | (x.to_bits() & 0x8000_0000))
}

/// Gauss error function: `x·P(x²)` up to 1, and `1 - e^Q(x)` beyond, with P and Q interpolated at Chebyshev nodes.
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    const SMALL: [f32; 7] =
        [0.965_468_74, -0.140_536_1, 0.019_852_498, -0.002_285_419_5, 0.000_217_512, -1.766_908_1e-5, 1.231_640_2e-6];
    const LARGE: [f32; 10] = [
        -1.849_605_5,
        -2.638_968,
        -0.843_101_7,
        -0.041_587_733,
        0.010_100_299,
        -0.002_077_427,
        0.000_333_992_1,
        -3.767_698_7e-5,
        2.502_747_4e-6,
        -6.582_858e-8,
    ];
    let a = clamp_keeping_nan(x.abs(), 0.0, 4.0);
    let near = polynomial(&SMALL, 2.0 * a * a - 1.0) * a;
    let far = 1.0 - exp(polynomial(&LARGE, a - 1.0));
    let y = if a > 1.0 { far } else { near };
    f32::from_bits(y.to_bits() | (x.to_bits() & 0x8000_0000))
}

/// `Σ coefficients[i]·uⁱ`
#[inline(always)]
fn polynomial<const N: usize>(coefficients: &[f32; N], u: f32) -> f32 {
    coefficients.iter().rev().fold(0.0, |sum, &c| sum * u + c)
}

/// Beyond this, [`sin`] and [`cos`] lose accuracy.
pub(crate) const LARGEST_ANGLE: f32 = 1e6;

/// `x = q·π/2 + r` with |r| at most π/4, worked out in f64.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "the quotient is small, and the remainder is rounded once")]
fn quadrant(x: f32) -> (i32, f32) {
    // 1.5 · 2⁵²: as [`ROUND`].
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let shifted = f64::from(x) * std::f64::consts::FRAC_2_PI + ROUND;
    let n = shifted - ROUND;
    (shifted.to_bits() as i32, (f64::from(x) - n * std::f64::consts::FRAC_PI_2) as f32)
}

/// Sine of `q·π/2 + r` by the Taylor series of sine or cosine.
#[inline(always)]
fn sin_of(q: i32, r: f32) -> f32 {
    let z = r * r;
    let sine = polynomial(&[-1.0 / 6.0, 1.0 / 120.0, -1.0 / 5040.0, 1.0 / 362_880.0], z) * z * r + r;
    let tail = polynomial(&[1.0 / 24.0, -1.0 / 720.0, 1.0 / 40_320.0, -1.0 / 3_628_800.0], z);
    let cosine = tail * z * z + (1.0 - 0.5 * z);
    let y = if q & 1 == 0 { sine } else { cosine };
    f32::from_bits(y.to_bits() ^ (((q & 2) as u32) << 30))
}

/// sine, for |x| up to [`LARGEST_ANGLE`]
#[inline(always)]
pub(crate) fn sin(x: f32) -> f32 {
    let (q, r) = quadrant(x);
    sin_of(q, r)
}

/// cosine, for |x| up to [`LARGEST_ANGLE`]
#[inline(always)]
pub(crate) fn cos(x: f32) -> f32 {
    let (q, r) = quadrant(x);
    sin_of(q.wrapping_add(1), r)
}

/// The larger; NaN if either is.
#[inline(always)]
pub(crate) fn maximum(a: f32, b: f32) -> f32 {
    if a > b || a.is_nan() { a } else { b }
}

/// The smaller; NaN if either is.
#[inline(always)]
pub(crate) fn minimum(a: f32, b: f32) -> f32 {
    if a < b || a.is_nan() { a } else { b }
}

/// Zero of its sign for a subnormal number. The threads flush subnormals, which functions that take numbers apart by bits don't
/// expect: they then compute with what is 0.
#[inline(always)]
fn flushed(x: f32) -> f32 {
    if x.to_bits() & 0x7f80_0000 == 0 { f32::from_bits(x.to_bits() & 0x8000_0000) } else { x }
}

/// `aᵇ` with C's special cases, by way of f64
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "the result is rounded once")]
pub(crate) fn pow(a: f32, b: f32) -> f32 {
    let (a, b) = (flushed(a), flushed(b));
    let size = a.abs();
    let power = f64::from(b) * log2(size);
    // 1 to the power of infinity is 1.
    let power = if size == 1.0 && !b.is_nan() { 0.0 } else { power };
    let y = exp2(power) as f32;
    let half = b * 0.5;
    let (whole, odd) = (b == b.trunc(), b == b.trunc() && half != half.trunc());
    let y = if a < 0.0 && size < f32::INFINITY && !whole { f32::NAN } else { y };
    let y = if odd { f32::from_bits(y.to_bits() | (a.to_bits() & 0x8000_0000)) } else { y };
    if a == 1.0 || b == 0.0 { 1.0 } else { y }
}

/// `log₂ x` to about 12 digits, for x of at least 0 that is not subnormal
#[inline(always)]
fn log2(x: f32) -> f64 {
    /// 2⁵²: a small integer in the low bits of its mantissa is added to it.
    const INTEGER: f64 = 4_503_599_627_370_496.0;
    const ONE: u64 = 1023 << 52;
    let bits = f64::from(x).to_bits();
    // The exponent of x with the mantissa taken from [√½, √2), as in [`log`].
    let biased = bits.wrapping_add(ONE - std::f64::consts::FRAC_1_SQRT_2.to_bits()) >> 52;
    let n = f64::from_bits(INTEGER.to_bits() | biased) - (INTEGER + 1023.0);
    let f = f64::from_bits(bits.wrapping_sub(biased << 52).wrapping_add(ONE)) - 1.0;
    // ln(1 + f) = 2 artanh(s) with s = f / (2 + f).
    let s = f / (2.0 + f);
    let series = [1.0, 1.0 / 3.0, 1.0 / 5.0, 1.0 / 7.0, 1.0 / 9.0, 1.0 / 11.0, 1.0 / 13.0, 1.0 / 15.0];
    let y = n + polynomial_f64(&series, s * s) * s * (2.0 * std::f64::consts::LOG2_E);
    let y = if x == 0.0 { f64::NEG_INFINITY } else { y };
    // Infinity and NaN stay as they are.
    if x < f32::INFINITY { y } else { f64::from(x) }
}

/// `2ˣ` to about 10 digits; 0 or infinity where an f32 cannot hold it
#[inline(always)]
fn exp2(x: f64) -> f64 {
    // 1.5 · 2⁵²: as [`ROUND`].
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let x = if x < -200.0 { -200.0 } else { x };
    let x = if x > 200.0 { 200.0 } else { x };
    let shifted = x + ROUND;
    let r = (x - (shifted - ROUND)) * std::f64::consts::LN_2;
    let series =
        [1.0, 1.0, 1.0 / 2.0, 1.0 / 6.0, 1.0 / 24.0, 1.0 / 120.0, 1.0 / 720.0, 1.0 / 5040.0, 1.0 / 40_320.0, 1.0 / 362_880.0];
    let scale = f64::from_bits(shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(1023) << 52);
    polynomial_f64(&series, r) * scale
}

/// As [`polynomial`], in f64.
#[inline(always)]
fn polynomial_f64<const N: usize>(coefficients: &[f64; N], u: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, &c| sum * u + c)
}

/// the angle of the point (x, y)
pub(crate) fn atan2(y: f32, x: f32) -> f32 {
    atan2f(flushed(y), flushed(x))
}

/// `a - b·floor(a/b)`, with the divisor's sign.
#[inline(always)]
pub(crate) fn rem(a: f32, b: f32) -> f32 {
    let r = flushed(flushed(a) % flushed(b));
    if r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::exact;

    #[test]
    fn functions_stay_close_to_f64() {
        type Row = (&'static str, fn(f32) -> f32, fn(f64) -> f64, f32, f32);
        let rows: [Row; 10] = [
            ("exp", exp, f64::exp, -87.0, 88.7),
            ("expm1", expm1, f64::exp_m1, -30.0, 88.7),
            ("log", log, f64::ln, 1e-6, 1e6),
            ("log1p", log1p, f64::ln_1p, -0.999, 50.0),
            ("sigmoid", sigmoid, exact::sigmoid, -80.0, 80.0),
            ("softplus", softplus, exact::softplus, -80.0, 80.0),
            ("tanh", tanh, f64::tanh, -12.0, 12.0),
            ("erf", erf, exact::erf, -6.0, 6.0),
            ("sin", sin, f64::sin, -1000.0, 1000.0),
            ("cos", cos, f64::cos, -1000.0, 1000.0),
        ];
        for (name, fast, exact, low, high) in rows {
            let mut worst = 0.0;
            for i in 0..200_000u32 {
                let t = i as f32 / 200_000.0;
                for x in [low + (high - low) * t, (low + (high - low) * t) * 1e-3, t * 4.0 - 0.9] {
                    if x < low || x > high {
                        continue;
                    }
                    let (y, e) = (f64::from(fast(x)), exact(f64::from(x)));
                    let ulp = f64::from(f32::EPSILON) * e.abs().max(1e-37);
                    let error = (y - e).abs() / ulp;
                    assert!(error < 3.0, "{name}({x}) = {y}, not {e}: {error} ulp");
                    worst = f64::max(worst, error);
                }
            }
            println!("{name}: {worst:.2} ulp");
        }
    }

    #[test]
    fn powers_stay_close_to_f64() {
        let mut worst = 0.0;
        for i in 0..300 {
            // From 1e-30 to 1e30, and close to 1.
            for a in [10f32.powf(i as f32 / 5.0 - 30.0), 1.0 + (i as f32 - 150.0) * 1e-4] {
                for k in 0..200 {
                    let b = (k as f32 - 100.0) * 0.37;
                    let expected = f64::from(a).powf(f64::from(b));
                    if (1e-37..3e38).contains(&expected) {
                        let error = (f64::from(pow(a, b)) - expected).abs() / (f64::from(f32::EPSILON) * expected);
                        assert!(error < 0.51, "{a}^{b}: {error} ulp");
                        worst = f64::max(worst, error);
                    }
                }
            }
        }
        println!("pow: {worst:.2} ulp");
        for (a, b) in [(2.0, 10.0), (3.0, 4.0), (-3.0, 5.0), (10.0, -0.0), (1024.0, 0.5), (9.0, 0.5), (0.5, 126.0)] {
            assert_eq!(pow(a, b), a.powf(b), "{a}^{b}");
        }
    }

    #[test]
    fn powers_have_the_special_cases_of_c() {
        let (big, odd) = (f32::MAX, 16_777_215.0);
        let rows = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 1e20, big, odd, odd + 1.0, f32::MIN_POSITIVE, f32::INFINITY, f32::NAN];
        let values = || rows.iter().flat_map(|&x| [x, -x]);
        for a in values() {
            for b in values() {
                let (got, expected) = (pow(a, b), a.powf(b));
                // The platform's results may be subnormal: these threads' don't flush.
                let near = (got - expected).abs() <= 2e-7 * expected.abs();
                let same = got == expected && got.is_sign_negative() == expected.is_sign_negative();
                assert!(near || same || (got.is_nan() && expected.is_nan()), "{a}^{b} = {got}, not {expected}");
            }
        }
    }

    #[test]
    fn subnormal_operands_count_as_0() {
        let rows = [
            ("pow(1e-39, 0.5)", pow(1e-39, 0.5), 0.0),
            ("pow(1e-39, -1)", pow(1e-39, -1.0), f32::INFINITY),
            ("atan2(1e-45, 1e-45)", atan2(1e-45, 1e-45), 0.0),
            ("atan2(1e-45, -1e-45)", atan2(1e-45, -1e-45), std::f32::consts::PI),
            ("rem(-1e-39, 2)", rem(-1e-39, 2.0), 0.0),
        ];
        for (name, got, wanted) in rows {
            assert_eq!(got, wanted, "{name}");
        }
        assert!(rem(1.0, 1e-39).is_nan());
    }

    #[test]
    fn special_values() {
        let rows: [(&str, f32, f32); 18] = [
            ("exp(inf)", exp(f32::INFINITY), f32::INFINITY),
            ("exp(-inf)", exp(f32::NEG_INFINITY), 0.0),
            ("exp(0)", exp(0.0), 1.0),
            ("expm1(inf)", expm1(f32::INFINITY), f32::INFINITY),
            ("expm1(-inf)", expm1(f32::NEG_INFINITY), -1.0),
            ("log(0)", log(0.0), f32::NEG_INFINITY),
            ("log(inf)", log(f32::INFINITY), f32::INFINITY),
            ("log(1)", log(1.0), 0.0),
            ("log1p(-1)", log1p(-1.0), f32::NEG_INFINITY),
            ("log1p(inf)", log1p(f32::INFINITY), f32::INFINITY),
            ("sigmoid(-inf)", sigmoid(f32::NEG_INFINITY), 0.0),
            ("sigmoid(inf)", sigmoid(f32::INFINITY), 1.0),
            ("softplus(inf)", softplus(f32::INFINITY), f32::INFINITY),
            ("tanh(inf)", tanh(f32::INFINITY), 1.0),
            ("tanh(-inf)", tanh(f32::NEG_INFINITY), -1.0),
            ("sin(-0)", sin(-0.0), 0.0),
            ("cos(0)", cos(0.0), 1.0),
            ("rem(-1, 3)", rem(-1.0, 3.0), 2.0),
        ];
        for (name, got, wanted) in rows {
            assert_eq!(got, wanted, "{name}");
        }
        for (name, f) in [("exp", exp as fn(f32) -> f32), ("expm1", expm1), ("log", log), ("log1p", log1p)] {
            assert!(f(f32::NAN).is_nan(), "{name}");
        }
        for (name, f) in [("sigmoid", sigmoid as fn(f32) -> f32), ("softplus", softplus), ("tanh", tanh)] {
            assert!(f(f32::NAN).is_nan(), "{name}");
        }
        assert!(log(-1.0).is_nan() && log1p(-2.0).is_nan());
    }
}
