//! Functions of single elements, in f64, i32 and u32.

use super::{Numbers, Value};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::op::{BinaryOp, UnaryOp};

/// `op(x)`; truth values are 0 and 1.
pub(crate) fn unary(op: UnaryOp, x: f64) -> f64 {
    match op {
        UnaryOp::Neg => -x,
        UnaryOp::Abs => x.abs(),
        UnaryOp::Sign => f64::from(i8::from(x > 0.0) - i8::from(x < 0.0)),
        UnaryOp::Sqrt => x.sqrt(),
        UnaryOp::Rsqrt => 1.0 / x.sqrt(),
        UnaryOp::Reciprocal => 1.0 / x,
        UnaryOp::Square => x * x,
        UnaryOp::Exp => x.exp(),
        UnaryOp::Expm1 => x.exp_m1(),
        UnaryOp::Log => x.ln(),
        UnaryOp::Log1p => x.ln_1p(),
        UnaryOp::Sin => x.sin(),
        UnaryOp::Cos => x.cos(),
        UnaryOp::Tan => x.tan(),
        UnaryOp::Asin => x.asin(),
        UnaryOp::Acos => x.acos(),
        UnaryOp::Atan => x.atan(),
        UnaryOp::Sinh => x.sinh(),
        UnaryOp::Cosh => x.cosh(),
        UnaryOp::Tanh => x.tanh(),
        UnaryOp::Erf => erf(x),
        UnaryOp::Floor => x.floor(),
        UnaryOp::Ceil => x.ceil(),
        UnaryOp::Round => x.round_ties_even(),
        UnaryOp::Trunc => x.trunc(),
        UnaryOp::Sigmoid => sigmoid(x),
        UnaryOp::Relu if x <= 0.0 => 0.0,
        UnaryOp::Relu => x,
        UnaryOp::Softplus => softplus(x),
        UnaryOp::Not => truth(x == 0.0),
        UnaryOp::IsNan => truth(x.is_nan()),
        UnaryOp::IsFinite => truth(x.is_finite()),
    }
}

/// `a op b`; comparisons give 0 or 1.
pub(crate) fn binary(op: BinaryOp, a: f64, b: f64) -> f64 {
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Pow => a.powf(b),
        BinaryOp::Rem => {
            let r = a % b;
            if r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r }
        }
        BinaryOp::Atan2 => a.atan2(b),
        BinaryOp::Minimum => minimum(a, b),
        BinaryOp::Maximum => maximum(a, b),
        BinaryOp::Eq => truth(a == b),
        BinaryOp::Ne => truth(a != b),
        BinaryOp::Lt => truth(a < b),
        BinaryOp::Le => truth(a <= b),
        BinaryOp::Gt => truth(a > b),
        BinaryOp::Ge => truth(a >= b),
        BinaryOp::And => truth(a != 0.0 && b != 0.0),
        BinaryOp::Or => truth(a != 0.0 || b != 0.0),
        BinaryOp::Xor => truth((a != 0.0) != (b != 0.0)),
    }
}

fn truth(b: bool) -> f64 {
    f64::from(u8::from(b))
}

/// The smaller; NaN if either is.
pub(crate) fn minimum(a: f64, b: f64) -> f64 {
    if a.is_nan() || a < b { a } else { b }
}

/// The larger; NaN if either is.
pub(crate) fn maximum(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

/// `1 / (1 + e⁻ˣ)` without overflow.
pub(crate) fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

/// `ln(1 + eˣ)` without overflow.
pub(crate) fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
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
        std::f64::consts::FRAC_2_SQRT_PI * (-a * a).exp() * sum
    } else if a < 6.0 {
        let mut tail = a;
        for k in (1..=60).rev() {
            tail = a + f64::from(k) * 0.5 / tail;
        }
        1.0 - (-a * a).exp() * (0.5 * std::f64::consts::FRAC_2_SQRT_PI) / tail
    } else {
        1.0
    };
    y.copysign(x)
}

/// `op(x)` on integers: arithmetic wraps; functions of reals go through f64 and saturate.
#[inline(always)]
pub(crate) fn unary_i32(op: UnaryOp, x: i32) -> i32 {
    match op {
        UnaryOp::Neg => x.wrapping_neg(),
        UnaryOp::Abs => x.wrapping_abs(),
        UnaryOp::Sign => x.signum(),
        UnaryOp::Square => x.wrapping_mul(x),
        UnaryOp::Relu => x.max(0),
        UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round | UnaryOp::Trunc => x,
        UnaryOp::Not => i32::from(x == 0),
        UnaryOp::IsNan => 0,
        UnaryOp::IsFinite => 1,
        _ => unary(op, f64::from(x)) as i32,
    }
}

/// As [`unary_i32`], on U32 and Bool.
#[inline(always)]
pub(crate) fn unary_u32(op: UnaryOp, x: u32) -> u32 {
    match op {
        UnaryOp::Neg => x.wrapping_neg(),
        UnaryOp::Abs | UnaryOp::Relu | UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round | UnaryOp::Trunc => x,
        UnaryOp::Sign => u32::from(x != 0),
        UnaryOp::Square => x.wrapping_mul(x),
        UnaryOp::Not => u32::from(x == 0),
        UnaryOp::IsNan => 0,
        UnaryOp::IsFinite => 1,
        _ => unary(op, f64::from(x)) as u32,
    }
}

/// `a op b` on integers: wraps; a quotient or remainder by zero is 0; comparisons give 0 or 1.
#[inline(always)]
pub(crate) fn binary_i32(op: BinaryOp, a: i32, b: i32) -> i32 {
    match op {
        BinaryOp::Add => a.wrapping_add(b),
        BinaryOp::Sub => a.wrapping_sub(b),
        BinaryOp::Mul => a.wrapping_mul(b),
        BinaryOp::Div if b == 0 => 0,
        BinaryOp::Div => a.wrapping_div(b),
        BinaryOp::Pow => pow_i32(a, b),
        BinaryOp::Rem if b == 0 => 0,
        BinaryOp::Rem => {
            let r = a.wrapping_rem(b);
            if r != 0 && (r < 0) != (b < 0) { r + b } else { r }
        }
        BinaryOp::Atan2 => f64::from(a).atan2(f64::from(b)) as i32,
        BinaryOp::Minimum => a.min(b),
        BinaryOp::Maximum => a.max(b),
        BinaryOp::Eq => i32::from(a == b),
        BinaryOp::Ne => i32::from(a != b),
        BinaryOp::Lt => i32::from(a < b),
        BinaryOp::Le => i32::from(a <= b),
        BinaryOp::Gt => i32::from(a > b),
        BinaryOp::Ge => i32::from(a >= b),
        BinaryOp::And => a & b,
        BinaryOp::Or => a | b,
        BinaryOp::Xor => a ^ b,
    }
}

/// As [`binary_i32`], on U32 and Bool.
#[inline(always)]
pub(crate) fn binary_u32(op: BinaryOp, a: u32, b: u32) -> u32 {
    match op {
        BinaryOp::Add => a.wrapping_add(b),
        BinaryOp::Sub => a.wrapping_sub(b),
        BinaryOp::Mul => a.wrapping_mul(b),
        BinaryOp::Div => a.checked_div(b).unwrap_or(0),
        BinaryOp::Pow => a.wrapping_pow(b),
        BinaryOp::Rem => a.checked_rem(b).unwrap_or(0),
        BinaryOp::Atan2 => f64::from(a).atan2(f64::from(b)) as u32,
        BinaryOp::Minimum => a.min(b),
        BinaryOp::Maximum => a.max(b),
        BinaryOp::Eq => u32::from(a == b),
        BinaryOp::Ne => u32::from(a != b),
        BinaryOp::Lt => u32::from(a < b),
        BinaryOp::Le => u32::from(a <= b),
        BinaryOp::Gt => u32::from(a > b),
        BinaryOp::Ge => u32::from(a >= b),
        BinaryOp::And => a & b,
        BinaryOp::Or => a | b,
        BinaryOp::Xor => a ^ b,
    }
}

/// Integer power; a negative exponent truncates the fraction to 0, except for bases 1 and -1.
fn pow_i32(a: i32, b: i32) -> i32 {
    match (u32::try_from(b), a) {
        (Ok(b), _) => a.wrapping_pow(b),
        (Err(_), 1) => 1,
        (Err(_), -1) => 1 - 2 * (b & 1),
        (Err(_), _) => 0,
    }
}

/// Every element through `op`.
pub(super) fn run_unary(op: UnaryOp, x: &Value) -> Numbers {
    match &x.data {
        Numbers::Float(v) => Numbers::Float(v.iter().map(|&x| unary(op, x)).collect()),
        Numbers::I32(v) => Numbers::I32(v.iter().map(|&x| unary_i32(op, x)).collect()),
        Numbers::U32(v) => Numbers::U32(v.iter().map(|&x| unary_u32(op, x)).collect()),
    }
}

/// Pairs of elements through `op`.
pub(super) fn run_binary(op: BinaryOp, a: &Value, b: &Value) -> Result<Numbers> {
    Ok(match (&a.data, &b.data) {
        (Numbers::Float(a), Numbers::Float(b)) => Numbers::Float(a.iter().zip(b).map(|(&a, &b)| binary(op, a, b)).collect()),
        (Numbers::I32(a), Numbers::I32(b)) => Numbers::I32(a.iter().zip(b).map(|(&a, &b)| binary_i32(op, a, b)).collect()),
        (Numbers::U32(a), Numbers::U32(b)) => Numbers::U32(a.iter().zip(b).map(|(&a, &b)| binary_u32(op, a, b)).collect()),
        _ => return Err(Error::internal(format!("{op:?} of {} and {}", a.dtype, b.dtype))),
    })
}

/// `condition ? a : b`.
pub(super) fn run_where(condition: &Value, a: &Value, b: &Value) -> Result<Numbers> {
    fn choose<T: Copy>(c: &[u32], a: &[T], b: &[T]) -> Vec<T> {
        (0..c.len()).map(|i| if c[i] != 0 { a[i] } else { b[i] }).collect()
    }
    Ok(match (&condition.data, &a.data, &b.data) {
        (Numbers::U32(c), Numbers::Float(a), Numbers::Float(b)) => Numbers::Float(choose(c, a, b)),
        (Numbers::U32(c), Numbers::I32(a), Numbers::I32(b)) => Numbers::I32(choose(c, a, b)),
        (Numbers::U32(c), Numbers::U32(a), Numbers::U32(b)) => Numbers::U32(choose(c, a, b)),
        _ => return Err(Error::internal(format!("where of {}, {} and {}", condition.dtype, a.dtype, b.dtype))),
    })
}

/// Conversion to `dtype`: floats truncate and saturate, integers reinterpret their bits, `Bool` is `x != 0`.
pub(super) fn cast(x: &Numbers, dtype: DType) -> Numbers {
    match (x, dtype) {
        (Numbers::Float(v), DType::Bool) => Numbers::U32(v.iter().map(|&x| u32::from(x != 0.0)).collect()),
        (Numbers::I32(v), DType::Bool) => Numbers::U32(v.iter().map(|&x| u32::from(x != 0)).collect()),
        (Numbers::U32(v), DType::Bool) => Numbers::U32(v.iter().map(|&x| u32::from(x != 0)).collect()),
        (x, dtype) => x.clone().stored_as(dtype),
    }
}

/// `(x - mean) / √(variance + eps)`.
pub(super) fn normalize(x: &Value, mean: &Value, variance: &Value, eps: &Value) -> Result<Numbers> {
    let (x, mean, variance, eps) = (x.floats()?, mean.floats()?, variance.floats()?, eps.floats()?);
    Ok(Numbers::Float((0..x.len()).map(|i| (x[i] - mean[i]) / (variance[i] + eps[i]).sqrt()).collect()))
}
