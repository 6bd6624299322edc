//! Ops over rows, each with a kernel of its own: the list, and what each is called, reads and costs.

use super::saved::Kept;

/// How rows are normalised, and which elements share a parameter. Rows count examples, and `groups` rows of each; the columns
/// of a row are channels of `positions` neighbours. So a parameter belongs to channel `row % groups · channels + column / positions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RowNorm {
    /// Whether the mean is subtracted; if not, the mean square takes the variance's place.
    pub centre: bool,
    /// What is added to the variance: the bits of an f64.
    pub eps: u64,
    /// Rows of an example.
    pub groups: usize,
    /// Neighbouring columns of a channel.
    pub positions: usize,
    /// Whether there is a scale.
    pub scale: bool,
    /// Whether there is a shift.
    pub shift: bool,
}

/// How the sums over rows of [`RowOp::RowNormGrad`] are shared out. It depends on sizes only, so that it is the same on all devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowNormParts {
    /// Examples of a part.
    pub each: usize,
    /// Parts of all examples.
    pub count: usize,
    /// Elements of a part for one of the parameters, or, where a channel is more than a column, for both.
    pub width: usize,
}

/// Parts that workgroups of half of 256 threads fill a large GPU with.
const PARTS: usize = 1024;

/// The fewest examples of a part whose sums are as long as a row: what is written for it must not weigh as much as its rows.
const FEWEST: usize = 3;

impl RowNorm {
    /// What is added to the variance.
    pub const fn eps(&self) -> f64 {
        f64::from_bits(self.eps)
    }

    /// Whether each column has a parameter of its own, the same one in all rows.
    pub const fn by_column(&self) -> bool {
        self.groups == 1 && self.positions == 1
    }

    /// Channels of a row.
    pub const fn channels(&self, cols: usize) -> usize {
        cols / self.positions
    }

    /// The parts of the parameters' gradients of rows of `cols`.
    pub fn parts(&self, [rows, cols]: [usize; 2]) -> RowNormParts {
        let examples = rows / self.groups;
        let wanted = examples.div_ceil(PARTS.div_ceil(self.groups));
        // No loop over a part's elements of a channel is longer than software adapters allow.
        let each = if self.by_column() { wanted.max(FEWEST) } else { wanted.min((1 << 15) / self.positions).max(1) };
        let width = if self.by_column() { cols } else { 4 * self.groups * self.channels(cols) };
        RowNormParts { each, count: examples.div_ceil(each), width }
    }

    /// Elements of the gradient of rows of `cols`: those of the input, then the parts.
    pub fn gradient_len(&self, x: [usize; 2]) -> usize {
        let parts = self.parts(x);
        let kinds = if self.by_column() {
            usize::from(self.scale) + usize::from(self.shift)
        } else {
            usize::from(self.scale || self.shift)
        };
        x[0] * x[1] + kinds * parts.count * parts.width
    }
}

/// An op over the rows of its first operand: of a matrix, or along the last axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RowOp {
    /// `(x)`: I32 positions along the last axis, in order. Stable; NaN counts as the largest, and -0 as equal to 0
    ArgSort {
        /// Largest first.
        descending: bool,
    },
    /// `(x)`: softmax (or its logarithm) over the last axis. A row of only -∞ gives zeros (its logarithm: -∞)
    Softmax {
        /// Whether to give the logarithm.
        log: bool,
    },
    /// `(y, ct)`, softmax's result and its cotangent: `y * (ct - Σ ct·y)`; of its logarithm `ct - e^y * Σ ct`
    SoftmaxGrad {
        /// Whether y is the logarithm.
        log: bool,
    },
    /// `(logits [n, c], labels: I32 [n])` to `[3, n]`: `-log_softmax(logits)[i, labels[i]]`, and what the gradient needs of each row
    /// besides the logits: the maximum and `Σ e^(logits - maximum)`, which is 0 for a row of only -∞
    CrossEntropy,
    /// `(logits [n, c], labels: I32 [n], kept [3, n], ct [n])` to `[n, c]`, where kept is `CrossEntropy`'s result:
    /// `(softmax(logits) - one_hot(labels)) * ct`. Its gradient with respect to the logits is the whole one; none flows to kept
    CrossEntropyGrad,
    /// `(x [rows, cols], scale?, shift?)`: `(x - mean) / √(variance + eps) · scale + shift`, with each row's own mean and population
    /// variance
    RowNorm(RowNorm),
    /// `(x [rows, cols], ct [rows, cols], scale?)` to one vector: the gradient with respect to x, and sums over parts of the
    /// examples, whose own sums are the gradients of scale and shift. By column, those are `[parts, cols]` for each parameter;
    /// else `[parts, groups, channels, 4]`, of which the first element belongs to the scale, the second to the shift, and the
    /// others are 0.
    RowNormGrad(RowNorm),
    /// `(table [rows, d], index: I32 [n])` to `[n, d]`: row `index[i]`; out of range clamps, which `Check` reports
    Gather,
    /// `(src [n, d], index: I32 [n])` to the node's shape `[rows, d]`: sums the rows of src that share an index, in a fixed order
    ScatterAdd,
    /// `(index: I32, flag: I32 [4])` to `[4]`: the flag, unless its first word is 0 and an index is outside `0..len`; then the
    /// call's number, the position of the first such index, the index, and len. In a lazy graph, `(index)`, whose value it has.
    Check {
        /// How many rows or classes there are.
        len: u32,
        /// The call whose indices they are: a number of [`Site`](crate::site::Site).
        site: u32,
    },
}

impl RowOp {
    /// The name that errors, plans and profiles show.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ArgSort { .. } => "argsort",
            Self::Softmax { .. } => "softmax",
            Self::SoftmaxGrad { .. } => "softmax_grad",
            Self::CrossEntropy => "cross_entropy",
            Self::CrossEntropyGrad => "cross_entropy_grad",
            Self::RowNorm(_) => "row_norm",
            Self::RowNormGrad(_) => "row_norm_grad",
            Self::Gather => "gather",
            Self::ScatterAdd => "scatter_add",
            Self::Check { .. } => "check_indices",
        }
    }

    /// What its gradient rule reads besides the incoming gradient.
    pub(crate) const fn kept(self) -> &'static [Kept] {
        use Kept::{Input, Output};
        match self {
            Self::ArgSort { .. } => &[],
            Self::Softmax { .. } => &[Output],
            Self::SoftmaxGrad { .. } => &[Input(0), Input(1)],
            Self::CrossEntropy => &[Input(0), Input(1), Output],
            Self::CrossEntropyGrad => &[Input(0), Input(1), Input(3)],
            Self::RowNorm(norm) if norm.scale => &[Input(0), Input(1)],
            Self::RowNorm(_) => &[Input(0)],
            Self::RowNormGrad(norm) if norm.scale => &[Input(0), Input(1), Input(2)],
            Self::RowNormGrad(_) => &[Input(0), Input(1)],
            Self::Gather | Self::ScatterAdd => &[Input(1)],
            Self::Check { .. } => &[],
        }
    }

    /// What each element of a result is where an operand has none; `None` if there are no elements in that case.
    pub(crate) const fn of_nothing(self) -> Option<f64> {
        match self {
            Self::ScatterAdd => Some(0.0),
            Self::ArgSort { .. } | Self::Softmax { .. } | Self::SoftmaxGrad { .. } => None,
            Self::CrossEntropy | Self::CrossEntropyGrad | Self::Gather => None,
            Self::RowNorm(_) | Self::RowNormGrad(_) => None,
            Self::Check { .. } => None,
        }
    }

    /// Floating-point operations for each element of the first operand, whose rows have `cols`. Roughly.
    pub(crate) const fn flops(self, cols: usize) -> usize {
        match self {
            Self::ArgSort { .. } => (if cols < 2 { 2 } else { cols }).ilog2() as usize + 1,
            Self::Softmax { .. } | Self::CrossEntropy | Self::CrossEntropyGrad => 8,
            Self::SoftmaxGrad { .. } => 4,
            Self::RowNorm(_) => 8,
            Self::RowNormGrad(_) => 16,
            Self::ScatterAdd => 1,
            Self::Gather => 0,
            Self::Check { .. } => 1,
        }
    }
}
