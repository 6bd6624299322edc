//! Ops over rows, each with a kernel of its own: the list, and what each is called, reads and costs.

use super::saved::Kept;

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
    /// `(table [rows, d], index: I32 [n])` to `[n, d]`: row `index[i]`; out of range clamps
    Gather,
    /// `(src [n, d], index: I32 [n])` to the node's shape `[rows, d]`: sums the rows of src that share an index, in a fixed order
    ScatterAdd,
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
            Self::Gather => "gather",
            Self::ScatterAdd => "scatter_add",
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
            Self::Gather | Self::ScatterAdd => &[Input(1)],
        }
    }

    /// What each element of a result is where an operand has none; `None` if there are no elements in that case.
    pub(crate) const fn of_nothing(self) -> Option<f64> {
        match self {
            Self::ScatterAdd => Some(0.0),
            Self::ArgSort { .. } | Self::Softmax { .. } | Self::SoftmaxGrad { .. } => None,
            Self::CrossEntropy | Self::CrossEntropyGrad | Self::Gather => None,
        }
    }

    /// Floating-point operations for each element of the first operand, whose rows have `cols`. Roughly.
    pub(crate) const fn flops(self, cols: usize) -> usize {
        match self {
            Self::ArgSort { .. } => (if cols < 2 { 2 } else { cols }).ilog2() as usize + 1,
            Self::Softmax { .. } | Self::CrossEntropy | Self::CrossEntropyGrad => 8,
            Self::SoftmaxGrad { .. } => 4,
            Self::ScatterAdd => 1,
            Self::Gather => 0,
        }
    }
}
