//! Movement: which element each coordinate takes.

use super::{Numbers, Value};
use crate::shape::Shape;

/// Every coordinate of a shape, in row-major order.
pub(super) fn coordinates(shape: &Shape) -> impl Iterator<Item = Vec<usize>> + use<> {
    let (shape, strides) = (*shape, shape.strides());
    (0..shape.numel()).map(move |i| shape.iter().zip(&strides).map(|(&len, &stride)| i / stride % len).collect())
}

/// The linear index of a coordinate.
pub(super) fn linear(shape: &Shape, coord: &[usize]) -> usize {
    shape.strides().iter().zip(coord).map(|(s, c)| s * c).sum()
}

/// Axis `d` of the result is axis `order[d]` of x.
pub(super) fn permute(x: &Value, order: &[usize], shape: &Shape) -> Numbers {
    let strides = x.shape.strides();
    let from = |c: Vec<usize>| Some(c.iter().zip(order).map(|(&c, &axis)| c * strides[axis]).sum());
    x.data.pick(&coordinates(shape).map(from).collect::<Vec<_>>())
}

/// Axes of length 1 repeat.
pub(super) fn expand(x: &Value, shape: &Shape) -> Numbers {
    let strides = x.shape.strides();
    let from = |c: Vec<usize>| Some((0..c.len()).map(|d| if x.shape[d] == 1 { 0 } else { c[d] * strides[d] }).sum());
    x.data.pick(&coordinates(shape).map(from).collect::<Vec<_>>())
}

/// Coordinate c is `start + c * step` of x.
#[allow(clippy::cast_possible_truncation, reason = "a slice lies within its operand")]
pub(super) fn slice(x: &Value, start: &[i64], step: &[i64], shape: &Shape) -> Numbers {
    let strides = x.shape.strides();
    let from = |c: Vec<usize>| {
        let at = |d: usize| (start[d] + c[d] as i64 * step[d]) as usize;
        Some((0..c.len()).map(|d| at(d) * strides[d]).sum())
    };
    x.data.pick(&coordinates(shape).map(from).collect::<Vec<_>>())
}

/// Zeros around x.
pub(super) fn pad(x: &Value, before: &[usize], shape: &Shape) -> Numbers {
    let from = |c: Vec<usize>| {
        let inner: Option<Vec<usize>> = (0..c.len()).map(|d| c[d].checked_sub(before[d]).filter(|&i| i < x.shape[d])).collect();
        inner.map(|inner| linear(&x.shape, &inner))
    };
    x.data.pick(&coordinates(shape).map(from).collect::<Vec<_>>())
}
