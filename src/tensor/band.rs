//! Sums along an axis, each over a few neighbours: windows of averages, resizing. Work is proportional to the sizes of input and
//! output, and a value reaches only the sums that take it, whatever the value is.
//!
//! The adjoint of such a sum is another such sum: each element of the input has few neighbours among the results. So a gradient
//! is gathered, too, and nothing is scattered.

use super::Tensor;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::Op;
use crate::lazy::{GradientRule, Node, Payload, VjpAt, grad_enabled, no_grad};
use std::sync::Arc;

/// The most elements of a sum that one kernel adds without a reduction.
const UNROLLED: usize = 8;

/// Which elements each result takes, and how much of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taps {
    /// The sum over window i of adaptive pooling, `⌊i·len/new⌋ .. ⌈(i + 1)·len/new⌉`.
    Windows,
    /// The element at `⌊i·len/new⌋`.
    Nearest,
    /// Linear interpolation: weight `max(0, 1 - |position(i) - j|)` of element j, with exact differences.
    Linear {
        /// Whether the first and last elements coincide, rather than the borders of elements.
        align_corners: bool,
    },
}

/// Sums from an axis of length `len` to one of length `new`. Positions are 32-bit integers: `4·len·new` must fit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Band {
    pub taps: Taps,
    pub len: usize,
    pub new: usize,
}

/// One way through a band, along an axis.
#[derive(Debug)]
struct Pass {
    band: Band,
    axis: usize,
    /// From results to elements.
    adjoint: bool,
}

impl Band {
    /// The sums along `axis`, differentiable any number of times.
    pub(super) fn apply(self, x: &Tensor, axis: usize) -> Result<Tensor> {
        Pass { band: self, axis, adjoint: false }.of(x)
    }

    /// The denominator of the weights.
    fn unit(self) -> usize {
        match self.taps {
            Taps::Linear { align_corners: true } => (self.new - 1).max(1),
            Taps::Linear { align_corners: false } => 2 * self.new,
            Taps::Windows | Taps::Nearest => 1,
        }
    }

    /// The weight of element j in result i, times [`Band::unit`]; 0 or less if the result does not take it.
    fn weight(self, i: &Tensor, j: &Tensor) -> Tensor {
        let n = |v: usize| i.scalar_like(v as f64);
        let (len, new) = (n(self.len), n(self.new));
        match self.taps {
            Taps::Nearest => (i * &len / new).eq(j).cast(DType::I32),
            // Both elements are intervals of one line: they overlap.
            Taps::Windows => {
                let starts = (i * &len).lt(&((j + 1.0) * &new));
                starts.logical_and(&(j * &new).lt(&((i + 1.0) * &len))).cast(DType::I32)
            }
            Taps::Linear { align_corners } => {
                let position = if align_corners {
                    i * n(self.len - 1)
                } else {
                    ((i * 2.0 + 1.0) * len - new).clamp(0.0, (2 * self.new * (self.len - 1)) as f64)
                };
                n(self.unit()) - (position - j * n(self.unit())).abs()
            }
        }
    }

    /// A position no later than the first element that result i takes, and how many elements from there on are enough.
    fn elements(self, i: &Tensor) -> (Tensor, usize) {
        let (len, new) = (i.scalar_like(self.len as f64), i.scalar_like(self.new as f64));
        match self.taps {
            Taps::Windows => (i * len / new, self.len.div_ceil(self.new) + 1),
            Taps::Nearest => (i * len / new, 1),
            Taps::Linear { align_corners: true } => {
                (i * i.scalar_like(self.len as f64 - 1.0) / i.scalar_like(self.unit() as f64), 2)
            }
            Taps::Linear { align_corners: false } => {
                let numerator = ((i * 2.0 + 1.0) * len - new).maximum(&i.scalar_like(0.0));
                (numerator / i.scalar_like(self.unit() as f64), 2)
            }
        }
    }

    /// A position no later than the first result that takes element j, and how many results from there on are enough.
    fn results(self, j: &Tensor) -> (Tensor, usize) {
        let n = |v: usize| j.scalar_like(v as f64);
        match self.taps {
            Taps::Windows => (j * n(self.new) / n(self.len), self.new.div_ceil(self.len) + 1),
            Taps::Nearest => ((j * n(self.new) + (self.len as f64 - 1.0)) / n(self.len), self.new.div_ceil(self.len)),
            // A single element takes part in all results.
            Taps::Linear { .. } if self.len == 1 => (j * 0.0, self.new),
            Taps::Linear { align_corners: true } => {
                let before = ((j - 1.0) * n(self.unit())).maximum(&n(0));
                (before / n(self.len - 1), (2 * self.unit()).div_ceil(self.len - 1) + 1)
            }
            Taps::Linear { align_corners: false } => {
                let before = ((j * 2.0 - 1.0) * n(self.new) - n(self.len)).maximum(&n(0));
                (before / n(2 * self.len), (2 * self.new).div_ceil(self.len) + 2)
            }
        }
    }
}

impl Pass {
    fn of(self, x: &Tensor) -> Result<Tensor> {
        if !grad_enabled() || !x.requires_grad() {
            return self.value(x);
        }
        let value = no_grad(|| self.value(x))?;
        let (shape, dtype, device) = (value.shape()?, value.dtype()?, value.device()?);
        let nodes = vec![value.node()?.clone(), x.node()?.clone()];
        Ok(Tensor::from_node(Node::new(Op::Recomputed, nodes, shape, dtype, &device, Payload::Gradient(Arc::new(self)), true)))
    }

    fn value(&self, x: &Tensor) -> Result<Tensor> {
        let Self { band, axis, adjoint } = *self;
        let (shape, device) = (x.shape()?, x.device()?);
        let (from, to) = if adjoint { (band.new, band.len) } else { (band.len, band.new) };
        let moved = shape.with(axis, to);
        if moved.numel() == 0 {
            return Ok(x.scalar_like(0.0).broadcast_to(moved));
        }
        let place = Tensor::iota(to, DType::I32, &device)?;
        let (first, count) = if adjoint { band.results(&place) } else { band.elements(&place) };
        let count = count.min(from);
        // Shifted back where fewer follow: the weights tell which ones take part.
        let first = first.minimum(&first.scalar_like((from - count) as f64));
        let taken = first + Tensor::iota(count, DType::I32, &device)?.unsqueeze(1);
        let weight = if adjoint { band.weight(&taken, &place) } else { band.weight(&place, &taken) };
        let mut order: Vec<usize> = (0..shape.rank()).collect();
        order.swap(0, axis);
        let front = x.permute(&order);
        let rest = shape.numel() / from;
        let rows = front.reshape([from, rest]).gather_rows_within(&taken.reshape([count * to])).reshape([count, to, rest]);
        // A table in memory: worked out once, not again for every position along the other axes.
        let share = (weight.cast(rows.dtype()?) / band.unit() as f64).unsqueeze(2).settled();
        let share_of = |rows: &Tensor, share: &Tensor| {
            let part = if matches!(band.taps, Taps::Linear { .. }) { rows * share } else { rows.clone() };
            share.gt(&share.scalar_like(0.0)).where_(&part, &rows.scalar_like(0.0))
        };
        let sums = if count > UNROLLED {
            share_of(&rows, &share).sum_dim(0)
        } else {
            let tap = |t: &Tensor, k: usize| t.slice(0, k as isize, k as isize + 1).squeeze(0);
            let parts = (0..count).map(|k| share_of(&tap(&rows, k), &tap(&share, k)));
            parts.reduce(|a, b| a + b).ok_or_else(|| Error::internal("a sum of no elements"))?
        };
        Ok(sums.reshape(front.shape()?.with(0, to)).permute(&order))
    }
}

impl GradientRule for Pass {
    fn vjp(&self, _: &[Tensor], ct: &Tensor, _: VjpAt) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(Self { band: self.band, axis: self.axis, adjoint: !self.adjoint }.of(ct)?)])
    }
}
