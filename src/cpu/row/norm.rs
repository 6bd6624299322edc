//! Normalisation of rows, and its gradient. Sums are of f64, in a fixed order.
#![allow(clippy::cast_possible_truncation, reason = "sums are rounded to the type of the values")]

use super::softmax::rows_of_task;
use crate::cpu::simd::vectorize;
use crate::graph::row::RowNorm;
use bytemuck::{cast_slice, cast_slice_mut};
use rayon::prelude::*;

/// `Σ f(x, y)` over pairs of elements, in eight sums.
#[inline(always)]
fn sum(x: &[f32], y: &[f32], f: impl Fn(f32, f32) -> f64) -> f64 {
    let mut lanes = [0.0; 8];
    let ((x, x_tail), (y, y_tail)) = (x.as_chunks::<8>(), y.as_chunks::<8>());
    for (x, y) in x.iter().zip(y) {
        for ((sum, &x), &y) in lanes.iter_mut().zip(x).zip(y) {
            *sum += f(x, y);
        }
    }
    let tail = x_tail.iter().zip(y_tail).fold(0.0, |sum, (&x, &y)| sum + f(x, y));
    lanes.iter().fold(tail, |sum, lane| sum + lane)
}

/// A row's mean (0 if nothing is subtracted), and `1 / √(variance + eps)`.
#[inline(always)]
fn statistics(norm: &RowNorm, x: &[f32]) -> (f32, f32) {
    let count = x.len() as f64;
    let mean = if norm.centre { (sum(x, x, |x, _| f64::from(x)) / count) as f32 } else { 0.0 };
    let variance = sum(x, x, |x, _| f64::from(x - mean) * f64::from(x - mean)) / count;
    (mean, (1.0 / (variance + norm.eps()).sqrt()) as f32)
}

/// The parameters of a row's columns: as they are, or, if a channel is more than a column, spread out in `wide`.
fn spread<'p>(norm: &RowNorm, row: usize, parameters: &'p [f32], wide: &'p mut [f32]) -> &'p [f32] {
    if norm.by_column() || parameters.is_empty() {
        return parameters;
    }
    let channels = norm.channels(wide.len());
    let own = &parameters[row % norm.groups * channels..][..channels];
    wide.chunks_mut(norm.positions).zip(own).for_each(|(wide, &p)| wide.fill(p));
    wide
}

/// The parameter that an operand is, or nothing.
fn parameter<'o>(operands: &[&'o [u32]], at: usize, present: bool) -> &'o [f32] {
    operands.get(at).filter(|_| present).map_or(&[], |o| cast_slice(o))
}

/// `out = (x - mean) / √(variance + eps) · scale + shift` of rows of `cols`.
pub(super) fn forward(norm: &RowNorm, cols: usize, operands: &[&[u32]], out: &mut [u32]) {
    let (x, out): (&[f32], &mut [f32]) = (cast_slice(operands[0]), cast_slice_mut(out));
    let scale = parameter(operands, 1, norm.scale);
    let shift = parameter(operands, 1 + usize::from(norm.scale), norm.shift);
    let rows = rows_of_task(cols);
    out.par_chunks_mut(rows * cols).zip(x.par_chunks(rows * cols)).enumerate().for_each(|(task, (out, x))| {
        let (mut scales, mut shifts) = (vec![0.0; cols], vec![0.0; cols]);
        for (row, (out, x)) in out.chunks_mut(cols).zip(x.chunks(cols)).enumerate() {
            let row = task * rows + row;
            let (scale, shift) = (spread(norm, row, scale, &mut scales), spread(norm, row, shift, &mut shifts));
            vectorize(
                #[inline(always)]
                || {
                    let (mean, root) = statistics(norm, x);
                    out.iter_mut().zip(x).for_each(|(o, &x)| *o = (x - mean) * root);
                    out.iter_mut().zip(scale).for_each(|(o, &scale)| *o *= scale);
                    out.iter_mut().zip(shift).for_each(|(o, &shift)| *o += shift);
                },
            );
        }
    });
}

/// What a task writes: the rows of a part, and its sums.
struct Task<'o> {
    dx: &'o mut [f32],
    scale: &'o mut [f32],
    shift: &'o mut [f32],
}

/// The gradient with respect to x, then the parts of those with respect to scale and shift, as
/// [`RowNormGrad`](crate::graph::row::RowOp::RowNormGrad) lists them.
pub(super) fn gradient(norm: &RowNorm, [rows, cols]: [usize; 2], operands: &[&[u32]], out: &mut [u32]) {
    let (x, ct): (&[f32], &[f32]) = (cast_slice(operands[0]), cast_slice(operands[1]));
    let scale = parameter(operands, 2, norm.scale);
    let parts = norm.parts([rows, cols]);
    let (dx, sums) = cast_slice_mut::<u32, f32>(out).split_at_mut(rows * cols);
    let (scales, shifts) = sums.split_at_mut(if norm.by_column() && norm.scale { parts.count * parts.width } else { 0 });
    let (mut scales, mut shifts) = (scales.chunks_mut(parts.width), shifts.chunks_mut(parts.width));
    let each = parts.each * norm.groups * cols;
    let task = |dx| Task { dx, scale: scales.next().unwrap_or_default(), shift: shifts.next().unwrap_or_default() };
    let tasks: Vec<Task> = dx.chunks_mut(each).map(task).collect();
    tasks.into_par_iter().zip(x.par_chunks(each)).zip(ct.par_chunks(each)).for_each(|((task, x), ct)| {
        let channels = norm.channels(cols);
        let mut wide = vec![0.0; cols];
        let (mut scales, mut shifts) = (vec![0.0f64; norm.groups * channels], vec![0.0f64; norm.groups * channels]);
        for (row, ((dx, x), ct)) in task.dx.chunks_mut(cols).zip(x.chunks(cols)).zip(ct.chunks(cols)).enumerate() {
            let scale = spread(norm, row, scale, &mut wide);
            let own = row % norm.groups * channels..(row % norm.groups + 1) * channels;
            let (scales, shifts) = (&mut scales[own.clone()], &mut shifts[own]);
            vectorize(
                #[inline(always)]
                || {
                    let (mean, root) = row_gradient(norm, scale, x, ct, dx);
                    if norm.scale || norm.shift {
                        add_sums(norm, (mean, root), x, ct, scales, shifts);
                    }
                },
            );
        }
        if norm.by_column() {
            task.scale.iter_mut().zip(&scales).for_each(|(o, &sum)| *o = sum as f32);
            task.shift.iter_mut().zip(&shifts).for_each(|(o, &sum)| *o = sum as f32);
        } else {
            for ((o, &scale), &shift) in task.shift.chunks_mut(4).zip(&scales).zip(&shifts) {
                o.fill(0.0);
                (o[0], o[1]) = (if norm.scale { scale as f32 } else { 0.0 }, if norm.shift { shift as f32 } else { 0.0 });
            }
        }
    });
}

/// `dx = (g - mean(g) - n · mean(g · n)) / √(variance + eps)`, where g is the cotangent times the scale and n the normalised row.
/// Returns the row's mean and root.
#[inline(always)]
fn row_gradient(norm: &RowNorm, scale: &[f32], x: &[f32], ct: &[f32], dx: &mut [f32]) -> (f32, f32) {
    let (mean, root) = statistics(norm, x);
    let count = x.len() as f64;
    dx.copy_from_slice(ct);
    dx.iter_mut().zip(scale).for_each(|(g, &scale)| *g *= scale);
    let g = &*dx;
    let mean_g = if norm.centre { (sum(g, g, |g, _| f64::from(g)) / count) as f32 } else { 0.0 };
    let product = sum(g, x, |g, x| f64::from(g) * f64::from((x - mean) * root)) / count;
    let mean_product = product as f32;
    dx.iter_mut().zip(x).for_each(|(g, &x)| *g = (*g - mean_g - (x - mean) * root * mean_product) * root);
    (mean, root)
}

/// Adds a row's products of cotangent and normalised x, and its cotangents, to the sums of its channels.
#[inline(always)]
fn add_sums(norm: &RowNorm, (mean, root): (f32, f32), x: &[f32], ct: &[f32], scales: &mut [f64], shifts: &mut [f64]) {
    if norm.by_column() {
        scales.iter_mut().zip(x).zip(ct).for_each(|((sum, &x), &ct)| *sum += f64::from(ct) * f64::from((x - mean) * root));
        shifts.iter_mut().zip(ct).for_each(|(sum, &ct)| *sum += f64::from(ct));
        return;
    }
    let channels = x.chunks(norm.positions).zip(ct.chunks(norm.positions));
    for ((scale, shift), (x, ct)) in scales.iter_mut().zip(shifts).zip(channels) {
        *scale += sum(ct, x, |ct, x| f64::from(ct) * f64::from((x - mean) * root));
        *shift += sum(ct, ct, |ct, _| f64::from(ct));
    }
}

/// The same in f64, one element after the other.
pub(super) mod reference {
    use crate::cpu::reference::{Numbers, Value};
    use crate::error::Result;
    use crate::graph::row::RowNorm;

    /// The parameter of an element.
    fn channel(norm: &RowNorm, cols: usize, row: usize, column: usize) -> usize {
        row % norm.groups * norm.channels(cols) + column / norm.positions
    }

    /// A row less its mean, if that is subtracted, and `1 / √(variance + eps)`.
    fn centred(norm: &RowNorm, x: &[f64]) -> (Vec<f64>, f64) {
        let count = x.len() as f64;
        let mean = if norm.centre { x.iter().sum::<f64>() / count } else { 0.0 };
        let centred: Vec<f64> = x.iter().map(|x| x - mean).collect();
        let variance = centred.iter().map(|d| d * d).sum::<f64>() / count;
        (centred, 1.0 / (variance + norm.eps()).sqrt())
    }

    /// `(x - mean) / √(variance + eps) · scale + shift`.
    pub(crate) fn forward(norm: &RowNorm, x: &[&Value]) -> Result<Numbers> {
        let cols = x[0].shape[1];
        let scale = if norm.scale { Some(x[1].floats()?) } else { None };
        let shift = if norm.shift { Some(x[1 + usize::from(norm.scale)].floats()?) } else { None };
        let mut out = Vec::new();
        for (row, values) in x[0].floats()?.chunks(cols.max(1)).enumerate() {
            let (centred, root) = centred(norm, values);
            out.extend(centred.iter().enumerate().map(|(column, d)| {
                let at = channel(norm, cols, row, column);
                d * root * scale.map_or(1.0, |s| s[at]) + shift.map_or(0.0, |s| s[at])
            }));
        }
        Ok(Numbers::Float(out))
    }

    /// The gradient with respect to x, then the parts of those with respect to scale and shift.
    pub(crate) fn gradient(norm: &RowNorm, x: &[&Value]) -> Result<Numbers> {
        let (rows, cols) = (x[0].shape[0], x[0].shape[1]);
        let (values, ct) = (x[0].floats()?, x[1].floats()?);
        let scale = if norm.scale { Some(x[2].floats()?) } else { None };
        let parts = norm.parts([rows, cols]);
        let mut out = vec![0.0; norm.gradient_len([rows, cols])];
        for row in 0..rows {
            let own = row * cols..(row + 1) * cols;
            let (centred, root) = centred(norm, &values[own.clone()]);
            let ct = &ct[own];
            let at = |column| channel(norm, cols, row, column);
            let g: Vec<f64> = (0..cols).map(|c| ct[c] * scale.map_or(1.0, |s| s[at(c)])).collect();
            let mean = if norm.centre { g.iter().sum::<f64>() / cols as f64 } else { 0.0 };
            let product = g.iter().zip(&centred).map(|(g, d)| g * d * root).sum::<f64>() / cols as f64;
            let part = row / norm.groups / parts.each;
            for c in 0..cols {
                out[row * cols + c] = (g[c] - mean - centred[c] * root * product) * root;
                let (for_scale, for_shift) = if norm.by_column() {
                    let first = rows * cols + part * cols + c;
                    (first, first + if norm.scale { parts.count * cols } else { 0 })
                } else {
                    let first = rows * cols + part * parts.width + 4 * at(c);
                    (first, first + 1)
                };
                if norm.scale {
                    out[for_scale] += ct[c] * centred[c] * root;
                }
                if norm.shift {
                    out[for_shift] += ct[c];
                }
            }
        }
        Ok(Numbers::Float(out))
    }
}
