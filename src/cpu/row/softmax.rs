//! Softmax and its logarithm over rows.

use crate::cpu::simd::vectorize;
use crate::math::fast;
use bytemuck::{cast_slice, cast_slice_mut};
use rayon::prelude::*;

/// Rows of a parallel task.
pub(super) fn rows_of_task(cols: usize) -> usize {
    (8192 / cols.max(1)).max(1)
}

/// The row's maximum; NaN if it has one, -∞ if it is empty.
#[inline(always)]
fn maximum(x: &[f32]) -> f32 {
    let (body, tail) = x.as_chunks::<16>();
    let mut lanes = [f32::NEG_INFINITY; 16];
    for chunk in body {
        for (a, &x) in lanes.iter_mut().zip(chunk) {
            *a = fast::maximum(*a, x);
        }
    }
    let max = lanes.iter().fold(f32::NEG_INFINITY, |a, &b| fast::maximum(a, b));
    tail.iter().fold(max, |a, &b| fast::maximum(a, b))
}

/// Fills `out` with `e^(x - max)` and returns (max, Σ of it); (-∞, 1) with zeros for a row of only -∞.
#[inline(always)]
pub(super) fn exponentials(x: &[f32], out: &mut [f32]) -> (f32, f32) {
    let max = maximum(x);
    if max == f32::NEG_INFINITY {
        out.fill(0.0);
        return (max, 1.0);
    }
    for (o, &x) in out.iter_mut().zip(x) {
        *o = fast::exp(x - max);
    }
    (max, sum(out))
}

/// Replaces x by `e^(x - top)`, where top is the maximum of x and `floor`, and returns top and the sum; zeros if all are -∞.
#[inline(always)]
pub(in crate::cpu) fn exponentials_below(x: &mut [f32], floor: f32) -> (f32, f32) {
    let top = fast::maximum(maximum(x), floor);
    if top == f32::NEG_INFINITY {
        x.fill(0.0);
        return (top, 0.0);
    }
    x.iter_mut().for_each(|x| *x = fast::exp(*x - top));
    (top, sum(x))
}

#[inline(always)]
fn sum(x: &[f32]) -> f32 {
    let (body, tail) = x.as_chunks::<16>();
    let mut lanes = [0.0; 16];
    for chunk in body {
        for (a, &x) in lanes.iter_mut().zip(chunk) {
            *a += x;
        }
    }
    lanes.iter().sum::<f32>() + tail.iter().sum::<f32>()
}

/// Softmax of every row of `cols`, or its logarithm.
pub(super) fn run(cols: usize, log: bool, x: &[u32], out: &mut [u32]) {
    let (x, out): (&[f32], &mut [f32]) = (cast_slice(x), cast_slice_mut(out));
    let task = rows_of_task(cols) * cols.max(1);
    out.par_chunks_mut(task).zip(x.par_chunks(task)).for_each(|(out, x)| {
        for (out, x) in out.chunks_mut(cols).zip(x.chunks(cols)) {
            vectorize(
                #[inline(always)]
                || row(x, log, out),
            );
        }
    });
}

#[inline(always)]
fn row(x: &[f32], log: bool, out: &mut [f32]) {
    let (max, sum) = exponentials(x, out);
    if !log {
        out.iter_mut().for_each(|o| *o /= sum);
    } else if max == f32::NEG_INFINITY {
        out.fill(max);
    } else {
        let log_sum = fast::log(sum);
        out.iter_mut().zip(x).for_each(|(o, &x)| *o = x - max - log_sum);
    }
}

/// Σ of `term` of each element of two rows.
#[inline(always)]
fn sum_of(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let ((a, a_tail), (b, b_tail)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    let mut lanes = [0.0; 16];
    for (a, b) in a.iter().zip(b) {
        for ((sum, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *sum += term(a, b);
        }
    }
    lanes.iter().sum::<f32>() + a_tail.iter().zip(b_tail).map(|(&a, &b)| term(a, b)).sum::<f32>()
}

/// `y * (ct - Σ ct·y)` of every row of `cols`, or, if y is the logarithm, `ct - e^y * Σ ct`.
pub(super) fn gradient(cols: usize, log: bool, operands: &[&[u32]], out: &mut [u32]) {
    let (y, ct): (&[f32], &[f32]) = (cast_slice(operands[0]), cast_slice(operands[1]));
    let out: &mut [f32] = cast_slice_mut(out);
    let task = rows_of_task(cols) * cols.max(1);
    out.par_chunks_mut(task).zip(y.par_chunks(task)).zip(ct.par_chunks(task)).for_each(|((out, y), ct)| {
        for ((out, y), ct) in out.chunks_mut(cols).zip(y.chunks(cols)).zip(ct.chunks(cols)) {
            vectorize(
                #[inline(always)]
                || {
                    let row = out.iter_mut().zip(y).zip(ct);
                    if log {
                        let sum = sum_of(y, ct, |_, ct| ct);
                        row.for_each(|((o, &y), &ct)| *o = ct - fast::exp(y) * sum);
                    } else {
                        let sum = sum_of(y, ct, |y, ct| y * ct);
                        row.for_each(|((o, &y), &ct)| *o = y * (ct - sum));
                    }
                },
            );
        }
    });
}

/// The same in f64, one element after the other.
pub(super) mod reference {
    use crate::cpu::reference::{Numbers, Value};
    use crate::error::Result;
    use crate::math::exact::maximum;
    use crate::math::portable::{self, exp};

    /// `e^x / Σ e^x` of one row, or its logarithm. A row of only -∞ gives zeros (its logarithm: -∞).
    pub(crate) fn row(x: &[f64], log: bool) -> Vec<f64> {
        let max = x.iter().copied().fold(f64::NEG_INFINITY, maximum);
        if max == f64::NEG_INFINITY {
            return vec![if log { max } else { 0.0 }; x.len()];
        }
        let sum: f64 = x.iter().map(|x| exp(x - max)).sum();
        if log {
            x.iter().map(|x| x - max - portable::log(sum)).collect()
        } else {
            x.iter().map(|x| exp(x - max) / sum).collect()
        }
    }

    /// `y * (ct - Σ ct·y)` of every row, or, if y is the logarithm, `ct - e^y * Σ ct`.
    pub(crate) fn gradient(y: &Value, ct: &Value, log: bool) -> Result<Numbers> {
        let cols = y.shape.last().copied().unwrap_or(1).max(1);
        let mut out = Vec::new();
        for (y, ct) in y.floats()?.chunks(cols).zip(ct.floats()?.chunks(cols)) {
            let sum: f64 = if log { ct.iter().sum() } else { y.iter().zip(ct).map(|(y, ct)| y * ct).sum() };
            out.extend(y.iter().zip(ct).map(|(&y, ct)| if log { ct - exp(y) * sum } else { y * (ct - sum) }));
        }
        Ok(Numbers::Float(out))
    }

    /// Every row through [`row`].
    pub(crate) fn softmax(x: &Value, log: bool) -> Result<Numbers> {
        let cols = x.shape.last().copied().unwrap_or(1).max(1);
        Ok(Numbers::Float(x.floats()?.chunks(cols).flat_map(|r| row(r, log)).collect()))
    }
}
