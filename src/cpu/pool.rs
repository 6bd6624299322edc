//! 2-D pooling and its adjoints, plane by plane.

mod tiles;

use super::simd::vectorize;
use crate::graph::op::{PoolOp, PoolSpec};
use bytemuck::{cast_slice, cast_slice_mut};
use rayon::prelude::*;
use std::ops::Range;

/// Windows that are compared at a time.
const TOGETHER: usize = 32;
/// The index of what is in no plane.
const NOWHERE: u32 = u32::MAX;

/// Geometry of one plane.
#[derive(Clone, Copy)]
struct Plane<'a> {
    spec: &'a PoolSpec,
    /// Height and width of the unpooled side.
    x: [usize; 2],
    /// Height and width of the pooled side.
    y: [usize; 2],
}

impl Plane<'_> {
    /// The kernel taps of output `o` along axis `d` that are inside the image, and the first tap's coordinate.
    #[inline(always)]
    fn taps(&self, d: usize, o: usize) -> (Range<usize>, usize) {
        let (start, pad, dilation) = (o * self.spec.stride[d], self.spec.padding[d], self.spec.dilation[d]);
        let first = pad.saturating_sub(start).div_ceil(dilation);
        let end = (self.x[d] + pad).saturating_sub(start).div_ceil(dilation).min(self.spec.kernel[d]);
        if first >= end { (0..0, 0) } else { (first..end, start + first * dilation - pad) }
    }

    /// Calls `visit(output pixel, rows' taps, first row, columns' taps, first column)` for each output pixel.
    #[inline(always)]
    fn each(&self, mut visit: impl FnMut(usize, usize, usize, usize, usize)) {
        for oh in 0..self.y[0] {
            let (rows, top) = self.taps(0, oh);
            for ow in 0..self.y[1] {
                let (cols, left) = self.taps(1, ow);
                visit(oh * self.y[1] + ow, rows.len(), top, cols.len(), left);
            }
        }
    }

    /// Calls `visit(first output pixel, largest values, their indices into the plane)` for some neighbouring windows at a time. The
    /// largest is the first NaN, or else the first of the largest; a window without elements has -∞ and [`NOWHERE`].
    #[inline(always)]
    fn largest(&self, x: &[f32], mut visit: impl FnMut(usize, &[f32], &[u32])) {
        for oh in 0..self.y[0] {
            let (rows, top) = self.taps(0, oh);
            for first in (0..self.y[1]).step_by(TOGETHER) {
                let count = TOGETHER.min(self.y[1] - first);
                let (mut best, mut at) = ([f32::NEG_INFINITY; TOGETHER], [NOWHERE; TOGETHER]);
                for r in 0..rows.len() {
                    let start = (top + r * self.spec.dilation[0]) * self.x[1];
                    let line = &x[start..start + self.x[1]];
                    for c in 0..self.spec.kernel[1] {
                        self.tap(c, first..first + count, line, start, &mut best[..count], &mut at[..count]);
                    }
                }
                visit(oh * self.y[1] + first, &best[..count], &at[..count]);
            }
        }
    }

    /// Compares a column's tap of each window with the largest so far; `line` starts at element `start` of the plane.
    #[inline(always)]
    #[allow(
        clippy::cast_possible_truncation,
        reason = "an axis has fewer than 2^31 elements, and so has a plane that a window covers"
    )]
    fn tap(&self, c: usize, windows: Range<usize>, line: &[f32], start: usize, best: &mut [f32], at: &mut [u32]) {
        let (stride, pad, reach) = (self.spec.stride[1], self.spec.padding[1], c * self.spec.dilation[1]);
        let from = pad.saturating_sub(reach).div_ceil(stride).max(windows.start);
        let to = (self.x[1] + pad).saturating_sub(reach).div_ceil(stride).min(windows.end);
        if from >= to {
            return;
        }
        let column = from * stride + reach - pad;
        let own = from - windows.start..to - windows.start;
        let (mut elements, mut indices) = ([0.0; TOGETHER], [0; TOGETHER]);
        for (i, (element, index)) in elements.iter_mut().zip(&mut indices).enumerate().take(own.len()) {
            *element = line[column + i * stride];
            *index = (start + column + i * stride) as u32;
        }
        let largest = best[own.clone()].iter_mut().zip(&mut at[own]);
        for ((best, at), (&x, &index)) in largest.zip(elements.iter().zip(&indices)) {
            let wins = (x > *best) | (x.is_nan() & !best.is_nan()) | (*at == NOWHERE);
            *best = if wins { x } else { *best };
            *at = if wins { index } else { *at };
        }
    }

    fn divisor(&self, rows: usize, cols: usize) -> f32 {
        if self.spec.count_include_pad { (self.spec.kernel[0] * self.spec.kernel[1]) as f32 } else { (rows * cols) as f32 }
    }

    /// The windows' size if they lie side by side, without padding.
    fn tiles(&self) -> Option<[usize; 2]> {
        let PoolSpec { kernel, stride, padding, dilation, .. } = *self.spec;
        (kernel == stride && padding == [0, 0] && dilation == [1, 1]).then_some(kernel)
    }

    fn max(&self, x: &[f32], y: &mut [f32]) {
        let ([_, width], [_, columns]) = (self.x, self.y);
        match self.tiles() {
            Some([2, 2]) => return tiles::max::<2, 2>(x, width, y, columns),
            Some([3, 3]) => return tiles::max::<3, 3>(x, width, y, columns),
            Some([1, 2]) => return tiles::max::<1, 2>(x, width, y, columns),
            Some([1, 3]) => return tiles::max::<1, 3>(x, width, y, columns),
            Some([1, 4]) => return tiles::max::<1, 4>(x, width, y, columns),
            _ => {}
        }
        vectorize(
            #[inline(always)]
            || self.largest(x, |first, best, _| y[first..first + best.len()].copy_from_slice(best)),
        );
    }

    fn max_scatter(&self, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        let ([_, width], [_, columns]) = (self.x, self.y);
        match self.tiles() {
            Some([2, 2]) => return tiles::scatter::<2, 2>(x, width, dy, columns, dx),
            Some([3, 3]) => return tiles::scatter::<3, 3>(x, width, dy, columns, dx),
            Some([1, 2]) => return tiles::scatter::<1, 2>(x, width, dy, columns, dx),
            Some([1, 3]) => return tiles::scatter::<1, 3>(x, width, dy, columns, dx),
            Some([1, 4]) => return tiles::scatter::<1, 4>(x, width, dy, columns, dx),
            _ => {}
        }
        dx.fill(0.0);
        let mut scatter = |first: usize, at: &[u32]| {
            for (&at, dy) in at.iter().zip(&dy[first..]).filter(|&(&at, _)| at != NOWHERE) {
                dx[at as usize] += dy;
            }
        };
        vectorize(
            #[inline(always)]
            || self.largest(x, |first, _, at| scatter(first, at)),
        );
    }

    fn max_select(&self, x: &[f32], u: &[f32], y: &mut [f32]) {
        self.largest(x, |first, _, at| {
            for (y, &at) in y[first..].iter_mut().zip(at) {
                *y = if at == NOWHERE { 0.0 } else { u[at as usize] };
            }
        });
    }

    fn avg(&self, x: &[f32], y: &mut [f32]) {
        let [down, right] = self.spec.dilation;
        self.each(|pixel, rows, top, cols, left| {
            let mut sum = 0.0;
            for r in 0..rows {
                for c in 0..cols {
                    sum += x[(top + r * down) * self.x[1] + left + c * right];
                }
            }
            y[pixel] = if rows * cols == 0 { 0.0 } else { sum / self.divisor(rows, cols) };
        });
    }

    fn avg_scatter(&self, dy: &[f32], dx: &mut [f32]) {
        let [down, right] = self.spec.dilation;
        dx.fill(0.0);
        self.each(|pixel, rows, top, cols, left| {
            let share = dy[pixel] / self.divisor(rows, cols);
            for r in 0..rows {
                for c in 0..cols {
                    dx[(top + r * down) * self.x[1] + left + c * right] += share;
                }
            }
        });
    }
}

/// Runs `op` on every plane; `x` and `y` are the NCHW extents of the two sides.
pub(super) fn run(op: PoolOp, spec: &PoolSpec, x: [usize; 4], y: [usize; 4], operands: &[&[u32]], out: &mut [u32]) {
    let plane = Plane { spec, x: [x[2], x[3]], y: [y[2], y[3]] };
    let (large, small) = (x[2] * x[3], y[2] * y[3]);
    if large == 0 || small == 0 {
        out.fill(0);
        return;
    }
    let out: &mut [f32] = cast_slice_mut(out);
    let part = |operand: usize, len: usize, i: usize| -> &[f32] { &cast_slice(operands[operand])[i * len..(i + 1) * len] };
    let len = if matches!(op, PoolOp::MaxScatter | PoolOp::AvgScatter) { large } else { small };
    let run = |i: usize, out: &mut [f32]| match op {
        PoolOp::Max => plane.max(part(0, large, i), out),
        PoolOp::MaxScatter => plane.max_scatter(part(0, large, i), part(1, small, i), out),
        PoolOp::MaxSelect => plane.max_select(part(0, large, i), part(1, large, i), out),
        PoolOp::Avg => plane.avg(part(0, large, i), out),
        PoolOp::AvgScatter => plane.avg_scatter(part(0, small, i), out),
    };
    let planes = (8192 / large).max(1);
    out.par_chunks_mut(len * planes).enumerate().for_each(|(task, out)| {
        for (i, out) in out.chunks_mut(len).enumerate() {
            run(task * planes + i, out);
        }
    });
}
