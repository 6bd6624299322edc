//! Functions of single elements, in f64, i32 and u32.

use super::{Numbers, Value};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::binary::{BinaryOp, VisitPairs};
use crate::graph::unary::{UnaryOp, Visit};
use crate::math::Word;

/// `f(x)`, for functions of integers.
struct At<T>(T);

impl<T> Visit<T> for At<T> {
    type Output = u32;
    #[inline(always)]
    fn visit<R: Word>(self, f: impl Fn(T) -> R) -> u32 {
        f(self.0).word()
    }
}

/// `f(a, b)`.
struct AtPair<T>(T, T);

impl<T> VisitPairs<T> for AtPair<T> {
    type Output = u32;
    #[inline(always)]
    fn visit<R: Word>(self, f: impl Fn(T, T) -> R) -> u32 {
        f(self.0, self.1).word()
    }
}

/// `op(x)` on I32.
pub(super) fn unary_i32(op: UnaryOp, x: i32) -> i32 {
    op.of_i32(At(x)) as i32
}

/// `op(x)` on U32 and Bool.
pub(super) fn unary_u32(op: UnaryOp, x: u32) -> u32 {
    op.of_u32(At(x))
}

/// `a op b` on I32.
pub(super) fn binary_i32(op: BinaryOp, a: i32, b: i32) -> i32 {
    op.of_i32(AtPair(a, b)) as i32
}

/// `a op b` on U32 and Bool.
pub(super) fn binary_u32(op: BinaryOp, a: u32, b: u32) -> u32 {
    op.of_u32(AtPair(a, b))
}

/// Every element through `op`.
pub(super) fn run_unary(op: UnaryOp, x: &Value) -> Numbers {
    match &x.data {
        Numbers::Float(v) => Numbers::Float(v.iter().map(|&x| op.of_f64(x)).collect()),
        Numbers::I32(v) => Numbers::I32(v.iter().map(|&x| unary_i32(op, x)).collect()),
        Numbers::U32(v) => Numbers::U32(v.iter().map(|&x| unary_u32(op, x)).collect()),
    }
}

/// Pairs of elements through `op`.
pub(super) fn run_binary(op: BinaryOp, a: &Value, b: &Value) -> Result<Numbers> {
    Ok(match (&a.data, &b.data) {
        (Numbers::Float(a), Numbers::Float(b)) => Numbers::Float(a.iter().zip(b).map(|(&a, &b)| op.of_f64(a, b)).collect()),
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
