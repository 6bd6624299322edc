//! The list of ops. A graph is made of these; attributes are structure, values are data.

pub use super::attention::{AttentionMask, AttentionOp, AttentionPart};
pub use super::binary::BinaryOp;
use super::optim::OptimRule;
pub use super::recurrent::RecurrentOp;
pub use super::row::RowOp;
use super::saved::Kept;
pub use super::unary::UnaryOp;
use crate::shape::Shape;

/// Reductions to one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReduceOp {
    /// Σ x; 0 for none
    Sum,
    /// Π x; 1 for none
    Prod,
    /// the largest; NaN if any is; at least one element
    Max,
    /// the smallest; NaN if any is; at least one element
    Min,
}

/// Reductions to two values in one pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PairOp {
    /// `(x)`: the mean and the population variance; NaN for none
    Moments,
    /// `(a, b)`, one shape: Σ a and Σ b; 0 for none
    Sums,
}

impl PairOp {
    /// The name that errors, plans and profiles show.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Moments => "moments",
            Self::Sums => "sums",
        }
    }
}

/// Geometry of a 2-D convolution: NCHW images, OIHW weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConvSpec {
    /// Step of the window, vertical and horizontal.
    pub stride: [usize; 2],
    /// Zeros on both sides, vertical and horizontal.
    pub padding: [usize; 2],
    /// Distance between the window's taps.
    pub dilation: [usize; 2],
    /// Channel groups that do not see each other.
    pub groups: usize,
}

#[cfg(test)]
impl ConvSpec {
    /// Output length along spatial axis `d`: `(len + 2p - dilation·(k - 1) - 1) / stride + 1`, or `None` if no window fits.
    pub fn output(&self, d: usize, len: usize, kernel: usize) -> Option<usize> {
        places(len, kernel, self.stride[d], self.padding[d], self.dilation[d])
    }
}

/// How many times a window of `kernel` taps fits an axis: `(len + 2·padding - dilation·(kernel - 1) - 1) / stride + 1`, or `None`
/// if it does not. Computed in 128 bits, so that no number overflows.
pub(crate) fn places(len: usize, kernel: usize, stride: usize, padding: usize, dilation: usize) -> Option<usize> {
    let wide = |n: usize| n as u128;
    let window = wide(dilation) * wide(kernel.checked_sub(1)?) + 1;
    let room = (wide(len) + 2 * wide(padding)).checked_sub(window)?;
    usize::try_from(room.checked_div(wide(stride))? + 1).ok()
}

/// Geometry of 2-D pooling over the last two axes of an NCHW tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PoolSpec {
    /// The window's height and width.
    pub kernel: [usize; 2],
    /// Step of the window.
    pub stride: [usize; 2],
    /// Padding on both sides, at most half the window: -∞ for max, 0 for average.
    pub padding: [usize; 2],
    /// Distance between the window's taps.
    pub dilation: [usize; 2],
    /// Average only: whether padding counts in the divisor.
    pub count_include_pad: bool,
}

#[cfg(test)]
impl PoolSpec {
    /// Output length along spatial axis `d`, or `None` if no window fits.
    pub fn output(&self, d: usize, len: usize) -> Option<usize> {
        places(len, self.kernel[d], self.stride[d], self.padding[d], self.dilation[d])
    }
}

/// What a pooling node computes. `x` and `u` have the input's shape, `dy` the output's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PoolOp {
    /// `(x)`: the window's maximum. NaN wins; of equal values the first in row-major order is the maximum.
    Max,
    /// `(x, dy)`: each `dy` goes to its window's maximum; overlaps add. The adjoint of `MaxSelect`.
    MaxScatter,
    /// `(x, u)`: `u` at the position of each window's maximum in `x`.
    MaxSelect,
    /// `(x)`: the window's mean.
    Avg,
    /// `(dy)`: the adjoint of `Avg`; the output's size is in the node's shape.
    AvgScatter,
}

/// Which word of a Threefry block a random node takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RandomWord {
    /// The first 32 bits.
    First,
    /// The second 32 bits.
    Second,
}

/// A node's operation. Inputs are listed in brackets; axes are resolved and non-negative.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Op {
    // ---- sources ----
    /// `()`: host data or a realised value.
    Data,
    /// `()`: a 0-d value passed as data with each evaluation (f64 on the host, rounded to the dtype on use).
    Scalar,
    /// `()`: the contents of a cell (parameter or statistic).
    Cell,
    /// `()`: the element's linear index, in the node's dtype.
    Iota,
    /// `()`: U32 bits of Threefry(key, (linear index, offset)); key and offset are data.
    Random(RandomWord),

    // ---- elementwise ----
    /// `(x)`
    Unary(UnaryOp),
    /// `(a, b)`, one shape and dtype
    Binary(BinaryOp),
    /// `(condition: Bool, a, b)`
    Where,
    /// `(x)` to the node's dtype: floats truncate towards 0 and saturate, to Bool is `x != 0`
    Cast,
    /// `(x, moments, eps, weight..., bias...)`: `(x - mean) / √(variance + eps) · weight + bias` in x's shape, where `moments` are
    /// x's own [`PairOp::Moments`] over `axes`; weight and bias have x's shape with length 1 along `axes`. The gradient with respect
    /// to x is the whole one; none flows to the moments.
    Standardize {
        /// The axes that mean and variance were taken over, ascending.
        axes: Vec<usize>,
        /// Whether there is a weight.
        scaled: bool,
        /// Whether there is a bias.
        shifted: bool,
    },
    /// `(dy, x, moments, eps, sums, weight...)`: the gradient of [`Op::Standardize`] with respect to x,
    /// `weight / √(variance + eps) · (dy - Σdy / m - x̂ · Σ(dy · x̂) / m)`, where x̂ is x standardized, `sums` are [`PairOp::Sums`] of
    /// `dy` and `dy · x̂` over `axes`, and m is the number of values of each sum.
    StandardizeGrad {
        /// As in [`Op::Standardize`].
        axes: Vec<usize>,
        /// Whether there is a weight.
        scaled: bool,
    },

    // ---- movement: views, never copies by themselves ----
    /// `(x)`
    Reshape,
    /// `(x)`: axis `d` of the result is axis `order[d]` of x
    Permute(Vec<usize>),
    /// `(x)`: axes of length 1 stretch to the node's shape; same rank
    Expand,
    /// `(x)`: coordinate c of the result is `start + c * step` of x; a step may be negative, never 0
    Slice {
        /// First coordinate, one per axis.
        start: Vec<i64>,
        /// Step, one per axis.
        step: Vec<i64>,
    },
    /// `(x)`: zeros around x, `before[d]` in front of axis d and the rest of the node's shape after it
    Pad {
        /// Zeros in front, one per axis.
        before: Vec<usize>,
    },

    /// `(value, operands...)`: the value, in a buffer. No gradient flows to it; the operands' gradients are given by the rule in the node's
    /// payload, which computes again what it needs from them.
    Recomputed,

    // ---- reductions: reduced axes keep length 1 ----
    /// `(x)`
    Reduce {
        /// What to do.
        op: ReduceOp,
        /// Over which axes, ascending.
        axes: Vec<usize>,
    },
    /// See [`PairOp`]; over all axes but the kept ones, whose elements are the columns: `[2, n]`
    Pair {
        /// What to do.
        op: PairOp,
        /// Over which axes, ascending.
        axes: Vec<usize>,
    },
    /// `(x)`: I32 index of the first largest (or smallest) element along an axis; NaN counts as the extreme
    ArgReduce {
        /// Max or Min.
        op: ReduceOp,
        /// Along which axis.
        axis: usize,
    },

    // ---- contractions ----
    /// `(a [batch.., m, k], b [batch.., k, n])`, equal batch dimensions
    MatMul,
    /// `(x [n, ci, h, w], w [co, ci/groups, kh, kw])` to `[n, co, oh, ow]`
    Conv2d(ConvSpec),
    /// `(dy [n, co, oh, ow], w)` to x's shape, which is the node's
    Conv2dInputGrad(ConvSpec),
    /// `(x, dy)` to w's shape, which is the node's
    Conv2dWeightGrad(ConvSpec),
    /// See [`AttentionOp`]
    Attention(AttentionOp),
    /// See [`RecurrentOp`]
    Recurrent(RecurrentOp),
    /// See [`PoolOp`]; all tensors are `[n, c, h, w]`
    Pool(PoolOp, PoolSpec),

    /// See [`RowOp`]
    Row(RowOp),

    // ---- effects ----
    /// `(cell, value)`: overwrites the cell; the node's value is the cell's new contents
    Assign,
    /// `(store, gradient...)`: updates the parameters `entries` of an optimizer store in place. No value.
    /// If gated, `(store, gate, gradient...)`: see [`Gate`](super::optim::Gate).
    OptimStep {
        /// The update rule.
        rule: OptimRule,
        /// Whether a gate decides on the device if the step is taken.
        gated: bool,
        /// Whether the step itself clips the gradients by their common norm. Only on GPUs.
        clipped: bool,
        /// Which entries of the store the gradients belong to, ascending.
        entries: Vec<u32>,
    },
    /// `()`: an optimizer's arenas and table, as the first input of `OptimStep`.
    OptimStore,
}

impl Op {
    /// Whether the node has no inputs in any graph.
    pub const fn is_source(&self) -> bool {
        matches!(self, Self::Data | Self::Scalar | Self::Cell | Self::Iota | Self::Random(_) | Self::OptimStore)
    }

    /// Whether one output element depends only on the same element of each input.
    pub const fn is_elementwise(&self) -> bool {
        matches!(self, Self::Unary(_) | Self::Binary(_) | Self::Where | Self::Cast)
            || matches!(self, Self::Standardize { .. } | Self::StandardizeGrad { .. })
    }

    /// Whether it writes memory that outlives the evaluation.
    pub const fn is_effect(&self) -> bool {
        matches!(self, Self::Assign | Self::OptimStep { .. })
    }

    /// Whether the node only renames coordinates.
    pub const fn is_movement(&self) -> bool {
        matches!(self, Self::Reshape | Self::Permute(_) | Self::Expand | Self::Slice { .. } | Self::Pad { .. } | Self::Recomputed)
    }

    /// What each element of a result is where an operand has none: the sum of no terms, the product of no factors, the
    /// largest of no window's taps. `None` for ops that have no elements in that case, or whose rules refuse the call.
    pub fn of_nothing(&self) -> Option<f64> {
        match self {
            Self::Reduce { op: ReduceOp::Sum, .. } | Self::Pair { op: PairOp::Sums, .. } | Self::MatMul => Some(0.0),
            Self::Pair { op: PairOp::Moments, .. } => Some(f64::NAN),
            Self::Row(op) => op.of_nothing(),
            Self::Conv2d(_) | Self::Conv2dInputGrad(_) | Self::Conv2dWeightGrad(_) => Some(0.0),
            Self::Reduce { op: ReduceOp::Prod, .. } => Some(1.0),
            Self::Pool(PoolOp::Max, _) => Some(f64::NEG_INFINITY),
            Self::Pool(..) => Some(0.0),
            _ => None,
        }
    }

    /// The values that the gradient rule reads besides the incoming gradient: what an evaluation keeps for backward.
    pub(crate) fn kept(&self) -> &'static [Kept] {
        use Kept::{Factor, From, Input, Output};
        match self {
            Self::Unary(op) => op.kept(),
            Self::Binary(op) => op.kept(),
            Self::MatMul | Self::Conv2d(_) | Self::Conv2dInputGrad(_) | Self::Conv2dWeightGrad(_) => &[Factor(0), Factor(1)],
            Self::Where => &[Input(0)],
            Self::Row(op) => op.kept(),
            Self::Standardize { .. } => &[Input(0), Input(1), Input(3)],
            Self::StandardizeGrad { .. } => &[Input(0), Input(1), Input(2), Input(4), Input(5)],
            Self::Pair { op: PairOp::Moments, .. } => &[Output, Input(0)],
            Self::Recomputed => &[From(1)],
            Self::Reduce { op: ReduceOp::Prod | ReduceOp::Max | ReduceOp::Min, .. } => &[Output, Input(0)],
            Self::Pool(PoolOp::Max | PoolOp::MaxScatter | PoolOp::MaxSelect, _) => &[Input(0)],
            // Linear in their operands, or without a gradient.
            Self::Reduce { op: ReduceOp::Sum, .. }
            | Self::Pair { op: PairOp::Sums, .. }
            | Self::Pool(PoolOp::Avg | PoolOp::AvgScatter, _)
            | Self::Cast
            | Self::Reshape
            | Self::Permute(_)
            | Self::Expand
            | Self::Slice { .. }
            | Self::Pad { .. }
            | Self::ArgReduce { .. }
            | Self::Data
            | Self::Scalar
            | Self::Cell
            | Self::Iota
            | Self::Random(_)
            // Its nodes are those of a rule of its own.
            | Self::Attention(_)
            | Self::Recurrent(_)
            | Self::Assign
            | Self::OptimStep { .. }
            | Self::OptimStore => &[],
        }
    }

    /// The name that errors and plans show.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Scalar => "scalar",
            Self::Cell => "cell",
            Self::Iota => "iota",
            Self::Random(_) => "random",
            Self::Unary(_) => "unary",
            Self::Binary(_) => "binary",
            Self::Where => "where",
            Self::Cast => "cast",
            Self::Standardize { .. } => "standardize",
            Self::StandardizeGrad { .. } => "standardize_grad",
            Self::Reshape => "reshape",
            Self::Permute(_) => "permute",
            Self::Expand => "expand",
            Self::Slice { .. } => "slice",
            Self::Pad { .. } => "pad",
            Self::Recomputed => "recomputed",
            Self::Reduce { .. } => "reduce",
            Self::Pair { op, .. } => op.name(),
            Self::ArgReduce { .. } => "arg_reduce",
            Self::MatMul => "matmul",
            Self::Conv2d(_) => "conv2d",
            Self::Conv2dInputGrad(_) => "conv2d_input_grad",
            Self::Conv2dWeightGrad(_) => "conv2d_weight_grad",
            Self::Attention(op) => op.name(),
            Self::Recurrent(op) => op.name(),
            Self::Pool(..) => "pool",
            Self::Row(op) => op.name(),
            Self::Assign => "assign",
            Self::OptimStep { .. } => "optim_step",
            Self::OptimStore => "optim_store",
        }
    }
}

/// Whether the rule of `op` reads its operand rather than its result: a rectifier's sign can be had from both, and what an operand of
/// this kind is computed from is in memory anyway.
pub(crate) fn by_operand(op: &Op, operand: &Op) -> bool {
    *op == Op::Unary(UnaryOp::Relu) && matches!(operand, Op::Standardize { .. })
}

/// A shape with length 1 along some axes.
pub(crate) fn without(shape: Shape, axes: &[usize]) -> Shape {
    axes.iter().fold(shape, |s, &d| s.with(d, 1))
}

/// Whether every dimension of a shape but `axis` agrees with another's.
pub(crate) fn same_except(a: &Shape, b: &Shape, axis: usize) -> bool {
    a.rank() == b.rank() && (0..a.rank()).all(|d| d == axis || a[d] == b[d])
}
