//! Reductions to two values in one pass, accumulated in f64: means and variances, pairs of sums. The order of additions depends only
//! on shapes.

use super::layout::{PIECE, prefers_transposed, transpose};
use crate::cpu::expr::{BLOCK, Context, Evaluator, Program};
use crate::cpu::simd::vectorize;
use crate::error::Result;
use crate::graph::op::PairOp;
use crate::plan::expr::{Expr, Term};
use bytemuck::cast_slice;
use rayon::prelude::*;

/// Independent partial results of a segment, so that its loop vectorises.
const LANES: usize = 16;

/// What values of one result, or of a part of it, amount to.
trait Partial: Copy + Send + Sync {
    /// The state of a column, to which elements are added one by one.
    type Column: Copy;
    /// That of no values.
    const NONE: Self;
    /// Of neighbouring values, of which there is at least one.
    fn of(x: &[f32], y: &[f32]) -> Self;
    /// Of both.
    fn join(self, other: Self) -> Self;
    /// Of a column's first values.
    fn open(x: f32, y: f32) -> Self::Column;
    /// With further values.
    fn add(column: Self::Column, x: f32, y: f32) -> Self::Column;
    /// Of a column of `rows` values.
    fn close(column: Self::Column, rows: usize) -> Self;
    /// Both results of `count` values.
    fn results(self, count: usize) -> [f64; 2];
}

/// `Σ f(i)` of two functions at once.
#[inline(always)]
fn lanes(x: &[f32], y: &[f32], f: impl Fn(f64, f64) -> [f64; 2]) -> [f64; 2] {
    vectorize(
        #[inline(always)]
        || {
            let (mut first, mut second) = ([0.0; LANES], [0.0; LANES]);
            let (x_body, x_tail) = x.as_chunks::<LANES>();
            let (y_body, y_tail) = y.as_chunks::<LANES>();
            for (x, y) in x_body.iter().zip(y_body) {
                for l in 0..LANES {
                    let [a, b] = f(f64::from(x[l]), f64::from(y[l]));
                    first[l] += a;
                    second[l] += b;
                }
            }
            for (l, (&x, &y)) in x_tail.iter().zip(y_tail).enumerate() {
                let [a, b] = f(f64::from(x), f64::from(y));
                first[l] += a;
                second[l] += b;
            }
            [first.iter().sum(), second.iter().sum()]
        },
    )
}

#[derive(Debug, Clone, Copy)]
struct Sums([f64; 2]);

impl Partial for Sums {
    type Column = [f64; 2];
    const NONE: Self = Self([0.0; 2]);
    fn of(x: &[f32], y: &[f32]) -> Self {
        Self(lanes(x, y, |x, y| [x, y]))
    }
    fn join(self, other: Self) -> Self {
        Self([self.0[0] + other.0[0], self.0[1] + other.0[1]])
    }
    #[inline(always)]
    fn open(x: f32, y: f32) -> [f64; 2] {
        [f64::from(x), f64::from(y)]
    }
    #[inline(always)]
    fn add([a, b]: [f64; 2], x: f32, y: f32) -> [f64; 2] {
        [a + f64::from(x), b + f64::from(y)]
    }
    fn close(column: [f64; 2], _: usize) -> Self {
        Self(column)
    }
    fn results(self, _: usize) -> [f64; 2] {
        self.0
    }
}

/// A number of values, their mean, and the sum of squares of their distances to it.
///
/// Source: T. Chan, G. Golub, R. LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
#[derive(Debug, Clone, Copy)]
struct Moments {
    n: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    /// Of n values whose distances to `shift` have this sum and sum of squares.
    fn shifted(n: f64, shift: f64, [sum, squares]: [f64; 2]) -> Self {
        Self { n, mean: shift + sum / n, squares: squares - sum * (sum / n) }
    }
}

/// What values are taken relative to: one of them, so that squares of distances are of the size of the variance. From an infinity
/// there is no distance.
#[inline(always)]
fn shift(x: f32) -> f64 {
    if x.is_finite() { f64::from(x) } else { 0.0 }
}

impl Partial for Moments {
    /// The shift, and the sums of distances to it and of their squares.
    type Column = [f64; 3];
    const NONE: Self = Self { n: 0.0, mean: 0.0, squares: 0.0 };
    fn of(x: &[f32], _: &[f32]) -> Self {
        let by = shift(x[0]);
        let sums = lanes(x, x, |x, _| [x - by, (x - by) * (x - by)]);
        Self::shifted(x.len() as f64, by, sums)
    }
    fn join(self, other: Self) -> Self {
        if self.n == 0.0 {
            return other;
        }
        if other.n == 0.0 {
            return self;
        }
        let n = self.n + other.n;
        let (distance, share) = (other.mean - self.mean, other.n / n);
        // Infinities have no distance; the mean with one is infinite.
        let mean = if distance.is_finite() { self.mean + distance * share } else { self.mean + other.mean };
        Self { n, mean, squares: self.squares + other.squares + distance * distance * (self.n * share) }
    }
    #[inline(always)]
    fn open(x: f32, _: f32) -> [f64; 3] {
        Self::add([shift(x), 0.0, 0.0], x, 0.0)
    }
    #[inline(always)]
    fn add([by, sum, squares]: [f64; 3], x: f32, _: f32) -> [f64; 3] {
        let distance = f64::from(x) - by;
        [by, sum + distance, squares + distance * distance]
    }
    fn close([by, sum, squares]: [f64; 3], rows: usize) -> Self {
        Self::shifted(rows as f64, by, [sum, squares])
    }
    fn results(self, count: usize) -> [f64; 2] {
        [self.mean, self.squares / count as f64]
    }
}

/// A prepared reduction to two values.
#[derive(Debug)]
pub(in crate::cpu) struct Pair {
    op: PairOp,
    /// Both values; of moments the second is the first.
    values: Program,
    kept: usize,
    reduced: usize,
    /// Whether the values run over `[reduced.., kept..]`, because memory does.
    transposed: bool,
}

impl Pair {
    /// Prepares what [`Kernel::Pair`](crate::plan::Kernel::Pair) describes.
    pub fn new(op: PairOp, value: &Expr, kept: usize) -> Result<Self> {
        let dims = value.shape.dims();
        let transposed = prefers_transposed(value, kept);
        let mut ordered = if transposed { transpose(value, kept) } else { value.clone() };
        if !matches!(ordered.terms.last(), Some((Term::Pair(..), _))) {
            let only = ordered.terms.len().saturating_sub(1);
            ordered.push(Term::Pair(only, only), value.dtype());
        }
        Ok(Self {
            op,
            values: Program::new(&ordered, None)?,
            kept: dims[..kept].iter().product(),
            reduced: dims[kept..].iter().product(),
            transposed,
        })
    }

    /// Runs it: all first results, then all second ones.
    pub fn run(&self, context: Context, out: &mut [u32]) {
        match self.op {
            PairOp::Moments => self.combine::<Moments>(context, out),
            PairOp::Sums => self.combine::<Sums>(context, out),
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "results in f64 are rounded")]
    fn combine<P: Partial>(&self, context: Context, out: &mut [u32]) {
        let (width, parts) = if self.transposed { self.columns::<P>(context) } else { self.rows::<P>(context) };
        let (first, second) = out.split_at_mut(self.kept);
        for ((first, second), parts) in first.chunks_mut(width).zip(second.chunks_mut(width)).zip(&parts) {
            for (i, (first, second)) in first.iter_mut().zip(second).enumerate() {
                let all = parts.iter().fold(P::NONE, |a, part| a.join(part[i]));
                [*first, *second] = all.results(self.reduced).map(|x| (x as f32).to_bits());
            }
        }
    }

    /// For so many results at a time, parts of them: whole rows per task, or pieces of long ones.
    fn rows<P: Partial>(&self, context: Context) -> (usize, Vec<Vec<Vec<P>>>) {
        let cost = self.values.cost.max(1);
        let pieces = if self.reduced > 2 * PIECE && self.kept < 64 { self.reduced.div_ceil(PIECE) } else { 1 };
        let width = if pieces > 1 { 1 } else { (PIECE / cost / self.reduced.max(1)).max(1) };
        let task = |i: usize| {
            let (first, piece) = (i / pieces * width, i % pieces);
            let rows = width.min(self.kept - first);
            let piece_len = if pieces > 1 { PIECE } else { self.reduced };
            let from = piece * piece_len;
            let length = piece_len.min(self.reduced - from);
            let mut evaluator = Evaluator::new(&self.values, context);
            let mut acc = vec![P::NONE; rows];
            let (start, total) = (first * self.reduced + from, rows * length);
            for at in (0..total).step_by(BLOCK) {
                let len = BLOCK.min(total - at);
                let [x, y] = evaluator.pair(start + at, len).map(cast_slice::<u32, f32>);
                let mut seen = 0;
                while seen < len {
                    let (row, column) = ((at + seen) / length, (at + seen) % length);
                    let end = len.min(seen + length - column);
                    acc[row] = acc[row].join(P::of(&x[seen..end], &y[seen..end]));
                    seen = end;
                }
            }
            acc
        };
        (width, self.tasks(width, pieces, task))
    }

    /// Neighbouring results in neighbouring columns.
    fn columns<P: Partial>(&self, context: Context) -> (usize, Vec<Vec<Vec<P>>>) {
        let pieces = if self.kept >= 4 * BLOCK { 1 } else { (self.kept * self.reduced).div_ceil(PIECE).clamp(1, 64) };
        let rows = self.reduced.div_ceil(pieces).max(1);
        let width = BLOCK.min(self.kept.max(1));
        let task = |i: usize| {
            let (first, piece) = (i / pieces * width, i % pieces);
            let len = width.min(self.kept - first);
            let (from, to) = ((piece * rows).min(self.reduced), ((piece + 1) * rows).min(self.reduced));
            let mut evaluator = Evaluator::new(&self.values, context);
            let mut columns: Vec<P::Column> = Vec::new();
            for row in from..to {
                let [x, y] = evaluator.pair(row * self.kept + first, len).map(cast_slice::<u32, f32>);
                if columns.is_empty() {
                    columns = x.iter().zip(y).map(|(&x, &y)| P::open(x, y)).collect();
                    continue;
                }
                vectorize(
                    #[inline(always)]
                    || {
                        for (column, (&x, &y)) in columns.iter_mut().zip(x.iter().zip(y)) {
                            *column = P::add(*column, x, y);
                        }
                    },
                );
            }
            if from == to { vec![P::NONE; len] } else { columns.into_iter().map(|c| P::close(c, to - from)).collect() }
        };
        (width, self.tasks(width, pieces, task))
    }

    /// Runs tasks, those of one group of results next to each other.
    fn tasks<P: Partial>(&self, width: usize, pieces: usize, task: impl Fn(usize) -> Vec<P> + Sync + Send) -> Vec<Vec<Vec<P>>> {
        let groups = self.kept.div_ceil(width);
        let parts: Vec<Vec<P>> = match groups * pieces {
            1 => vec![task(0)],
            tasks => (0..tasks).into_par_iter().map(task).collect(),
        };
        parts.chunks(pieces).map(<[Vec<P>]>::to_vec).collect()
    }
}
