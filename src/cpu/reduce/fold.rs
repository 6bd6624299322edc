//! How elements of each dtype are combined.

use crate::cpu::simd::vectorize;
use crate::graph::op::ReduceOp;
use crate::math::{exact, fast};

/// Independent partial results of a segment, so that its loop vectorises.
const LANES: usize = 32;

/// An element type that reductions combine.
pub(super) trait Fold: bytemuck::Pod + Send + Sync {
    /// The type of partial results.
    type Acc: Copy + Send + Sync;
    /// The neutral element.
    fn start(op: ReduceOp) -> Self::Acc;
    /// Two partial results.
    fn combine(op: ReduceOp, a: Self::Acc, b: Self::Acc) -> Self::Acc;
    /// A partial result and neighbouring elements.
    fn segment(op: ReduceOp, acc: Self::Acc, x: &[Self]) -> Self::Acc;
    /// `acc[i]` and `x[i]`, for each i.
    fn rows(op: ReduceOp, acc: &mut [Self::Acc], x: &[Self]);
    /// The result's bits.
    fn finish(acc: Self::Acc) -> u32;
}

#[inline(always)]
fn lanes<T: Copy>(x: &[T], start: T, f: impl Fn(T, T) -> T) -> T {
    vectorize(
        #[inline(always)]
        || {
            let (body, tail) = x.as_chunks::<LANES>();
            let mut acc = [start; LANES];
            for chunk in body {
                for (a, &x) in acc.iter_mut().zip(chunk) {
                    *a = f(*a, x);
                }
            }
            for (a, &x) in acc.iter_mut().zip(tail) {
                *a = f(*a, x);
            }
            acc[1..].iter().fold(acc[0], |a, &b| f(a, b))
        },
    )
}

#[inline(always)]
fn columns<A: Copy, T: Copy>(acc: &mut [A], x: &[T], f: impl Fn(A, T) -> A) {
    vectorize(
        #[inline(always)]
        || {
            for (a, &x) in acc.iter_mut().zip(x) {
                *a = f(*a, x);
            }
        },
    );
}

impl Fold for f32 {
    type Acc = f64;
    fn start(op: ReduceOp) -> f64 {
        match op {
            ReduceOp::Sum => 0.0,
            ReduceOp::Prod => 1.0,
            ReduceOp::Max => f64::NEG_INFINITY,
            ReduceOp::Min => f64::INFINITY,
        }
    }
    fn combine(op: ReduceOp, a: f64, b: f64) -> f64 {
        match op {
            ReduceOp::Sum => a + b,
            ReduceOp::Prod => a * b,
            ReduceOp::Max => exact::maximum(a, b),
            ReduceOp::Min => exact::minimum(a, b),
        }
    }
    fn segment(op: ReduceOp, acc: f64, x: &[f32]) -> f64 {
        match op {
            ReduceOp::Sum => acc + f64::from(lanes(x, 0.0, |a, b| a + b)),
            // In f64, as a product of 32 partial products may leave the range of f32 where the whole does not.
            ReduceOp::Prod => x.iter().fold(acc, |a, &b| a * f64::from(b)),
            ReduceOp::Max => exact::maximum(acc, f64::from(lanes(x, f32::NEG_INFINITY, fast::maximum))),
            ReduceOp::Min => exact::minimum(acc, f64::from(lanes(x, f32::INFINITY, fast::minimum))),
        }
    }
    fn rows(op: ReduceOp, acc: &mut [f64], x: &[f32]) {
        match op {
            ReduceOp::Sum => columns(acc, x, |a, x| a + f64::from(x)),
            _ => columns(acc, x, |a, x| Self::combine(op, a, f64::from(x))),
        }
    }
    #[allow(clippy::cast_possible_truncation, reason = "a sum in f64 is rounded to the result")]
    fn finish(acc: f64) -> u32 {
        (acc as f32).to_bits()
    }
}

macro_rules! fold_integer {
    ($($int:ty),*) => {$(
        impl Fold for $int {
            type Acc = $int;
            fn start(op: ReduceOp) -> $int {
                match op {
                    ReduceOp::Sum => 0,
                    ReduceOp::Prod => 1,
                    ReduceOp::Max => <$int>::MIN,
                    ReduceOp::Min => <$int>::MAX,
                }
            }
            #[inline(always)]
            fn combine(op: ReduceOp, a: $int, b: $int) -> $int {
                match op {
                    ReduceOp::Sum => a.wrapping_add(b),
                    ReduceOp::Prod => a.wrapping_mul(b),
                    ReduceOp::Max => a.max(b),
                    ReduceOp::Min => a.min(b),
                }
            }
            fn segment(op: ReduceOp, acc: $int, x: &[$int]) -> $int {
                match op {
                    ReduceOp::Sum => acc.wrapping_add(lanes(x, 0, <$int>::wrapping_add)),
                    _ => x.iter().fold(acc, |a, &b| Self::combine(op, a, b)),
                }
            }
            fn rows(op: ReduceOp, acc: &mut [$int], x: &[$int]) {
                columns(acc, x, |a, x| Self::combine(op, a, x));
            }
            fn finish(acc: $int) -> u32 {
                acc as u32
            }
        }
    )*};
}
fold_integer!(i32, u32);
