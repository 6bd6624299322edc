//! Reductions; reduced axes keep length 1.

use super::elementwise::{binary_i32, binary_u32};
use super::movement::{coordinates, linear};
use super::{Numbers, Value};
use crate::graph::op::{BinaryOp, ReduceOp};
use crate::shape::Shape;

/// Combines all elements that share their coordinates on the other axes, in row-major order.
pub(super) fn reduce(op: ReduceOp, x: &Value, axes: &[usize]) -> Numbers {
    let mut shape = x.shape;
    for &axis in axes {
        shape = shape.with(axis, 1);
    }
    let target = |mut c: Vec<usize>| {
        for &axis in axes {
            c[axis] = 0;
        }
        linear(&shape, &c)
    };
    let targets: Vec<usize> = coordinates(&x.shape).map(target).collect();
    let combine = match op {
        ReduceOp::Sum => BinaryOp::Add,
        ReduceOp::Prod => BinaryOp::Mul,
        ReduceOp::Max => BinaryOp::Maximum,
        ReduceOp::Min => BinaryOp::Minimum,
    };
    let start = i32::from(op == ReduceOp::Prod);
    let n = shape.numel();
    match &x.data {
        Numbers::Float(v) => Numbers::Float(fold(v, &targets, n, f64::from(start), |a, b| combine.of_f64(a, b), op)),
        Numbers::I32(v) => Numbers::I32(fold(v, &targets, n, start, |a, b| binary_i32(combine, a, b), op)),
        Numbers::U32(v) => Numbers::U32(fold(v, &targets, n, start as u32, |a, b| binary_u32(combine, a, b), op)),
    }
}

fn fold<T: Copy>(x: &[T], targets: &[usize], n: usize, start: T, combine: impl Fn(T, T) -> T, op: ReduceOp) -> Vec<T> {
    let mut out = vec![start; n];
    // Extremes start from their first element; sums and products from 0 and 1.
    let mut started = vec![matches!(op, ReduceOp::Sum | ReduceOp::Prod); n];
    for (&x, &t) in x.iter().zip(targets) {
        out[t] = if started[t] { combine(out[t], x) } else { x };
        started[t] = true;
    }
    out
}

/// The index of the first extreme along `axis`; the first NaN is the extreme if there is one.
#[allow(clippy::cast_possible_truncation, reason = "an axis has fewer than 2^31 elements")]
pub(super) fn arg_reduce(op: ReduceOp, x: &Value, axis: usize) -> Numbers {
    let values: Vec<f64> = match &x.data {
        Numbers::Float(v) => v.clone(),
        Numbers::I32(v) => v.iter().map(|&x| f64::from(x)).collect(),
        Numbers::U32(v) => v.iter().map(|&x| f64::from(x)).collect(),
    };
    let kept: Shape = x.shape.with(axis, 1);
    let stride = x.shape.strides()[axis];
    let first_extreme = |c: Vec<usize>| {
        let base = linear(&x.shape, &c);
        let at = |k: usize| values[base + k * stride];
        let mut best = 0;
        for k in 1..x.shape[axis] {
            let better = if op == ReduceOp::Min { at(k) < at(best) } else { at(k) > at(best) };
            if !at(best).is_nan() && (at(k).is_nan() || better) {
                best = k;
            }
        }
        best as i32
    };
    Numbers::I32(coordinates(&kept).map(first_extreme).collect())
}
