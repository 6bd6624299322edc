//! Reductions of an expression. Sums of f32 are accumulated in f64; the order of additions depends only on shapes.

mod fold;
mod layout;
mod pair;

use super::elementwise;
use super::expr::{BLOCK, Context, Evaluator, Program};
use crate::dtype::DType;
use crate::error::Result;
use crate::graph::op::ReduceOp;
use crate::plan::expr::Expr;
use fold::Fold;
use layout::{PIECE, prefers_transposed, transpose};
pub(super) use pair::Pair;
use rayon::prelude::*;

/// A prepared reduction.
#[derive(Debug)]
pub(super) struct Reduce {
    op: ReduceOp,
    dtype: DType,
    value: Program,
    epilogue: Program,
    kept: usize,
    reduced: usize,
    /// Whether `value` runs over `[reduced.., kept..]`, because memory does.
    transposed: bool,
}

impl Reduce {
    /// Prepares `epilogue(i, reduce over j of value(i, j))`, where the first `kept` axes are i.
    pub fn new(op: ReduceOp, value: &Expr, kept: usize, epilogue: &Expr) -> Result<Self> {
        let dims = value.shape.dims();
        let transposed = prefers_transposed(value, kept);
        Ok(Self {
            op,
            dtype: value.dtype(),
            value: Program::new(&if transposed { transpose(value, kept) } else { value.clone() }, None)?,
            epilogue: Program::new(epilogue, None)?,
            kept: dims[..kept].iter().product(),
            reduced: dims[kept..].iter().product(),
            transposed,
        })
    }

    /// Runs it.
    pub fn run(&self, context: Context, out: &mut [u32]) {
        match self.dtype {
            DType::F32 | DType::F64 => self.combine::<f32>(context, out),
            DType::I32 => self.combine::<i32>(context, out),
            DType::U32 | DType::Bool | DType::U8 | DType::F16 => self.combine::<u32>(context, out),
        }
        if !self.epilogue.is_identity {
            elementwise::run(&self.epilogue, context, out);
        }
    }

    fn combine<T: Fold>(&self, context: Context, out: &mut [u32]) {
        if self.transposed {
            self.columns::<T>(context, out);
        } else if self.reduced > 2 * PIECE && self.kept < 64 {
            self.long_rows::<T>(context, out);
        } else {
            self.rows::<T>(context, out);
        }
    }

    /// Whole rows per task.
    fn rows<T: Fold>(&self, context: Context, out: &mut [u32]) {
        let rows = (PIECE / self.value.cost.max(1) / self.reduced.max(1)).max(1);
        let task = |(i, out): (usize, &mut [u32])| {
            let mut evaluator = Evaluator::new(&self.value, context);
            let mut block = [0; BLOCK];
            let start = i * rows * self.reduced;
            let total = out.len() * self.reduced;
            let (mut row, mut column, mut acc) = (0, 0, T::start(self.op));
            if self.reduced == 0 {
                out.fill(T::finish(acc));
            }
            for at in (0..total).step_by(BLOCK) {
                let len = BLOCK.min(total - at);
                evaluator.run(start + at, &mut block[..len]);
                let mut rest: &[T] = bytemuck::cast_slice(&block[..len]);
                while !rest.is_empty() {
                    let (segment, after) = rest.split_at(rest.len().min(self.reduced - column));
                    acc = T::segment(self.op, acc, segment);
                    column += segment.len();
                    rest = after;
                    if column == self.reduced {
                        out[row] = T::finish(acc);
                        (row, column, acc) = (row + 1, 0, T::start(self.op));
                    }
                }
            }
        };
        if out.len() <= rows {
            task((0, out));
        } else {
            out.par_chunks_mut(rows).enumerate().for_each(task);
        }
    }

    /// A few long rows: fixed pieces in parallel, combined in order.
    fn long_rows<T: Fold>(&self, context: Context, out: &mut [u32]) {
        let pieces = self.reduced.div_ceil(PIECE);
        let piece = |i: usize| {
            let (row, from) = (i / pieces, i % pieces * PIECE);
            let to = (from + PIECE).min(self.reduced);
            let mut evaluator = Evaluator::new(&self.value, context);
            let mut block = [0; BLOCK];
            let mut acc = T::start(self.op);
            for at in (from..to).step_by(BLOCK) {
                let len = BLOCK.min(to - at);
                evaluator.run(row * self.reduced + at, &mut block[..len]);
                acc = T::segment(self.op, acc, bytemuck::cast_slice(&block[..len]));
            }
            acc
        };
        let partial: Vec<T::Acc> = (0..self.kept * pieces).into_par_iter().map(piece).collect();
        for (out, row) in out.iter_mut().zip(partial.chunks(pieces)) {
            *out = T::finish(row.iter().fold(T::start(self.op), |a, &b| T::combine(self.op, a, b)));
        }
    }

    /// Neighbouring results in neighbouring columns: rows of the transposed value are added up.
    fn columns<T: Fold>(&self, context: Context, out: &mut [u32]) {
        // Narrow results also split the reduced axis into fixed pieces, combined in order.
        let pieces = if self.kept >= 4 * BLOCK { 1 } else { (self.kept * self.reduced).div_ceil(PIECE).clamp(1, 64) };
        let rows = self.reduced.div_ceil(pieces).max(1);
        let width = BLOCK.min(self.kept.max(1));
        let task = |i: usize| {
            let (first, piece) = (i / pieces * width, i % pieces);
            let len = width.min(self.kept - first);
            let mut evaluator = Evaluator::new(&self.value, context);
            let mut block = [0; BLOCK];
            let mut acc = vec![T::start(self.op); len];
            for row in piece * rows..((piece + 1) * rows).min(self.reduced) {
                evaluator.run(row * self.kept + first, &mut block[..len]);
                T::rows(self.op, &mut acc, bytemuck::cast_slice(&block[..len]));
            }
            acc
        };
        let tasks = self.kept.div_ceil(width) * pieces;
        let partial: Vec<Vec<T::Acc>> = if tasks == 1 { vec![task(0)] } else { (0..tasks).into_par_iter().map(task).collect() };
        for (out, parts) in out.chunks_mut(width).zip(partial.chunks(pieces)) {
            for (i, out) in out.iter_mut().enumerate() {
                *out = T::finish(parts.iter().fold(T::start(self.op), |a, part| T::combine(self.op, a, part[i])));
            }
        }
    }
}

/// A prepared arg-reduction.
#[derive(Debug)]
pub(super) struct ArgReduce {
    op: ReduceOp,
    dtype: DType,
    value: Program,
    cols: usize,
}

impl ArgReduce {
    /// Prepares the index of the first extreme along the last axis.
    pub fn new(op: ReduceOp, value: &Expr) -> Result<Self> {
        let cols = value.shape.last().copied().unwrap_or(1);
        Ok(Self { op, dtype: value.dtype(), value: Program::new(value, None)?, cols })
    }

    /// Runs it. The first NaN is the extreme if there is one.
    #[allow(clippy::cast_possible_truncation, reason = "an axis has fewer than 2^31 elements")]
    pub fn run(&self, context: Context, out: &mut [u32]) {
        let rows = (PIECE / self.value.cost.max(1) / self.cols.max(1)).max(1);
        let number = |word: u32| match self.dtype {
            DType::I32 => f64::from(word as i32),
            DType::U32 | DType::Bool | DType::U8 | DType::F16 => f64::from(word),
            DType::F32 | DType::F64 => f64::from(f32::from_bits(word)),
        };
        let better = |x: f64, best: f64| if self.op == ReduceOp::Min { x < best } else { x > best };
        let task = |(i, out): (usize, &mut [u32])| {
            let mut evaluator = Evaluator::new(&self.value, context);
            let mut block = vec![0; self.cols];
            for (row, out) in out.iter_mut().enumerate() {
                evaluator.run((i * rows + row) * self.cols, &mut block);
                let mut best = (0, f64::NAN);
                for (c, &word) in block.iter().enumerate() {
                    let x = number(word);
                    if c == 0 || better(x, best.1) || x.is_nan() {
                        best = (c, x);
                    }
                    if x.is_nan() {
                        break;
                    }
                }
                *out = best.0 as u32;
            }
        };
        if out.len() <= rows {
            task((0, out));
        } else {
            out.par_chunks_mut(rows).enumerate().for_each(task);
        }
    }
}
