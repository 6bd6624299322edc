//! Plans as plain data: which kernels run, in which order, on which memory. Executors run them; tests read them.

pub(crate) mod compile;
pub(crate) mod explain;
pub mod expr;
mod join_moments;
mod lower;
pub(crate) mod materialise;
mod pack;
mod schedule;
pub(crate) mod sizes;

use crate::dtype::DType;
use crate::graph::attention::{AttentionOp, AttentionSizes};
use crate::graph::op::{ConvSpec, PairOp, PoolOp, PoolSpec, ReduceOp, RowOp};
use crate::graph::optim::OptimRule;
use crate::graph::recurrent::RecurrentOp;
use crate::graph::{NodeId, View};
use crate::shape::Shape;
pub use expr::{Expr, Term};
use std::time::Duration;

/// The index of a buffer within its [`Plan`].
pub type BufferId = usize;

/// Where a value of a plan is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// Leaf number n of the graph: its n-th `Data`, `Cell` or `OptimStore` node, bound at each evaluation.
    Leaf(usize),
    /// A planned slot, shared over time with other values.
    Slot(usize),
    /// Output number n of the graph, in a buffer that the caller keeps.
    Output(usize),
    /// The gradient arena of the optimizer store bound to a leaf, at an entry's place. GPU plans only.
    Gradient {
        /// The store's leaf number.
        store: usize,
        /// The entry within the store.
        entry: u32,
    },
}

/// One contiguous value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BufferInfo {
    /// Where it is stored.
    pub place: Place,
    /// Its elements' type.
    pub dtype: DType,
    /// How many there are.
    pub len: usize,
}

/// A matrix operand: `element[batch][row][col]` is at `offset + Σ batch·strides + row·row_stride + col·col_stride`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MatrixView {
    /// Strides of the batch dimensions, 0 where broadcast; as many as [`MatMul::batch`] has dimensions.
    pub batch: Vec<i64>,
    /// Elements to the next row.
    pub row: i64,
    /// Elements to the next column. `row` or `col` is 1, unless that dimension has length 1.
    pub col: i64,
    /// Index of the first element.
    pub offset: i64,
}

/// `out[batch][m][n] = epilogue(Σ_k a[batch][m][k] * b[batch][k][n])`, out contiguous. `reads[0]` is a, `reads[1]` is b.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MatMul {
    /// Batch dimensions.
    pub batch: Shape,
    /// Rows of the result.
    pub m: usize,
    /// Columns of the result.
    pub n: usize,
    /// Length of the inner products.
    pub k: usize,
    /// Left operand, `m` by `k`.
    pub a: MatrixView,
    /// Right operand, `k` by `n`.
    pub b: MatrixView,
    /// Over the contiguous output shape.
    pub epilogue: Expr,
    /// The sums over k of the left operand's rows (half 0) or of the right one's columns (half 1), which the kernel writes besides: a
    /// bias's gradient, whose elements the gradient of a weight reads anyway. GPU plans only.
    pub sums: Option<Box<Further>>,
}

/// Which of a convolution's three products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConvRole {
    /// reads x, w; writes y
    Forward,
    /// reads dy, w; writes dx
    InputGrad,
    /// reads x, dy; writes dw
    WeightGrad,
}

/// A 2-D convolution product; all tensors contiguous.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Conv2d {
    /// Which product.
    pub role: ConvRole,
    /// Stride, padding, dilation, groups.
    pub spec: ConvSpec,
    /// `[n, ci, h, w]`
    pub x: [usize; 4],
    /// `[co, ci / groups, kh, kw]`
    pub w: [usize; 4],
    /// `[n, co, oh, ow]`
    pub y: [usize; 4],
    /// Over the written tensor's shape.
    pub epilogue: Expr,
    /// Where w begins in its buffer, as `[kh][kw][co][ci / groups]`, if [`Kernel::Pack`] wrote it. GPU plans only.
    pub packed: Option<usize>,
    /// The moments of y, which the kernel writes besides. GPU plans only.
    pub moments: Option<Box<Moments>>,
}

/// What a [`Kernel::Pair`] would compute of a step's result.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Moments {
    /// What is combined, over `[kept.., reduced..]`: operand 0 is the step's result, each element once.
    pub value: Expr,
    /// How many leading axes are kept.
    pub kept: usize,
    /// What is made of the moments besides.
    pub further: Vec<Further>,
    /// Where the moments are written.
    pub buffer: BufferId,
}

/// An attention, or its gradient; see [`AttentionOp`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Attention {
    /// What is computed.
    pub op: AttentionOp,
    /// Its sizes.
    pub sizes: AttentionSizes,
    /// How the operands are read, in their order. None has a mask or a negative stride, and neighbours along the last axis are
    /// neighbours in memory, except in an attention's mask.
    pub operands: Vec<View>,
}

/// An op over rows, and the matrices that it reads and writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Row {
    /// What is computed.
    pub op: RowOp,
    /// Rows and columns of the first operand.
    pub x: [usize; 2],
    /// Rows and columns of the result.
    pub out: [usize; 2],
}

impl Row {
    /// The op on an operand and to a result of these shapes; axes before the last count as rows.
    pub fn new(op: RowOp, x: Shape, out: Shape) -> Self {
        let matrix = |shape: Shape| match shape[..] {
            [rows, cols] => [rows, cols],
            _ => {
                let cols = shape.last().copied().unwrap_or(1);
                [shape.numel().checked_div(cols).unwrap_or(0), cols]
            }
        };
        Self { op, x: matrix(x), out: matrix(out) }
    }
}

/// A value that is computed of one of two results, element by element, by the kernel that computes those. Of a product, they are sums
/// of its operands' lines.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Further {
    /// Which result: 0 or 1. It is the expression's accumulator.
    pub half: usize,
    /// What is written. Its loads, if any, are of operand 0, which is the buffer itself, in order.
    pub expr: Expr,
    /// Where it is written. No other step reads what was there before.
    pub buffer: BufferId,
}

/// A kernel with its geometry. The operands of expressions and kernels are the step's `reads`, by position.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// `out[i] = expr(i)` over the expression's shape, in row-major order. The only kernel that may write a buffer it reads.
    Elementwise(Expr),
    /// `out[i] = epilogue(i, reduce over j of value(i, j))`: the last `value.shape.rank() - kept` axes are reduced.
    Reduce {
        /// How to combine.
        op: ReduceOp,
        /// What is combined, over `[kept.., reduced..]`.
        value: Expr,
        /// How many leading axes are kept.
        kept: usize,
        /// Over the kept axes.
        epilogue: Expr,
    },
    /// `out[0][i], out[1][i]` = what [`PairOp`] makes of `value(i, j)` over j: one value for moments, a [`Term::Pair`] for sums.
    Pair {
        /// What is computed.
        op: PairOp,
        /// What is combined, over `[kept.., reduced..]`.
        value: Expr,
        /// How many leading axes are kept.
        kept: usize,
        /// What the kernel writes besides. GPU plans only.
        further: Vec<Further>,
    },
    /// `out[i]` = I32 index of the first extreme of `value(i, j)` over the last axis.
    ArgReduce {
        /// Max or Min.
        op: ReduceOp,
        /// Over `[kept.., reduced]`.
        value: Expr,
    },
    /// A (batched) matrix product.
    MatMul(MatMul),
    /// One of a convolution's products.
    Conv2d(Conv2d),
    /// `out` = the reads, each `[lines][taps]` written as `[taps][lines]`, one after the other: weights of convolutions. GPU plans
    /// only.
    Pack {
        /// Lines and taps of each.
        parts: Vec<[usize; 2]>,
    },
    /// An attention, or its gradient.
    Attention(Attention),
    /// A recurrent layer, or its gradient; reads its operands, contiguous.
    Recurrent(RecurrentOp),
    /// Pooling; reads and writes contiguous tensors as [`PoolOp`] lists them.
    Pool {
        /// What is computed.
        op: PoolOp,
        /// Window geometry.
        spec: PoolSpec,
        /// `[n, c, h, w]` of the unpooled side.
        x: [usize; 4],
        /// `[n, c, oh, ow]` of the pooled side.
        y: [usize; 4],
    },
    /// An op over rows; reads its operands, contiguous.
    Row(Row),
    /// Updates entries of an optimizer store. The gate, if there is one, is the first read. On the GPU the gradients are in the
    /// store's arena; on the CPU they are the further reads, in the order of `entries`.
    OptimStep {
        /// The store's leaf number.
        store: usize,
        /// The update rule.
        rule: OptimRule,
        /// Whether a gate decides if the step is taken.
        gated: bool,
        /// Whether the gradients are clipped by their common norm first.
        clipped: bool,
        /// Which entries, ascending.
        entries: Vec<u32>,
        /// How many blocks of 1,024 elements they fill.
        blocks: usize,
    },
}

impl Kernel {
    /// The name that `explain` and profiles show.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Elementwise(_) => "elementwise",
            Self::Reduce { .. } => "reduce",
            Self::Pair { op, .. } => op.name(),
            Self::ArgReduce { .. } => "arg_reduce",
            Self::MatMul(_) => "matmul",
            Self::Conv2d(c) => match c.role {
                ConvRole::Forward => "conv2d",
                ConvRole::InputGrad => "conv2d_dgrad",
                ConvRole::WeightGrad => "conv2d_wgrad",
            },
            Self::Pack { .. } => "pack",
            Self::Attention(a) => a.op.name(),
            Self::Recurrent(op) => op.name(),
            Self::Pool { .. } => "pool",
            Self::Row(row) => row.op.name(),
            Self::OptimStep { .. } => "optim_step",
        }
    }

    /// The family of kernels that a trial tests together: an optimizer's rule has its own.
    pub fn family(&self) -> &'static str {
        match self {
            Self::OptimStep { rule, .. } => rule.facts().name,
            // Nothing else reads what it writes.
            Self::Pack { .. } => "conv2d",
            other => other.name(),
        }
    }

    /// The name with the sizes that tell one kernel of a table from another.
    pub fn label(&self) -> String {
        match self {
            Self::Elementwise(e) => format!("elementwise[{}]", e.terms.len()),
            Self::MatMul(m) => format!("matmul {}x{}x{}", m.m, m.n, m.k),
            other => other.name().to_owned(),
        }
    }

    /// Parts of equal work that follow one another, none of which a GPU runs together with another.
    pub fn rounds(&self) -> usize {
        match self {
            Self::Recurrent(op) => op.steps,
            _ => 1,
        }
    }

    /// What the kernel writes besides its result.
    pub fn further(&self) -> &[Further] {
        match self {
            Self::Pair { further, .. } => further,
            Self::MatMul(m) => m.sums.as_deref().map_or(&[], std::slice::from_ref),
            Self::Conv2d(c) => c.moments.as_deref().map_or(&[], |moments| &moments.further),
            _ => &[],
        }
    }

    /// Where the kernel writes the moments of its result, if it does.
    pub fn moments(&self) -> Option<BufferId> {
        if let Self::Conv2d(c) = self { c.moments.as_deref().map(|moments| moments.buffer) } else { None }
    }

    /// Every expression over the step's reads.
    pub fn exprs(&self) -> Vec<&Expr> {
        match self {
            Self::Elementwise(e) | Self::ArgReduce { value: e, .. } | Self::Pair { value: e, .. } => vec![e],
            Self::Reduce { value, epilogue, .. } => vec![value, epilogue],
            Self::MatMul(m) => vec![&m.epilogue],
            Self::Conv2d(c) => vec![&c.epilogue],
            Self::Pack { .. }
            | Self::Attention(_)
            | Self::Recurrent(_)
            | Self::Pool { .. }
            | Self::Row(_)
            | Self::OptimStep { .. } => Vec::new(),
        }
    }
}

/// One kernel launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What runs.
    pub kernel: Kernel,
    /// What it reads; no buffer twice.
    pub reads: Vec<BufferId>,
    /// What it writes; `None` for an optimizer step. For `Elementwise` it may also be among the reads (in place).
    pub write: Option<BufferId>,
    /// Dependency level: steps of one level do not depend on each other.
    pub level: u32,
    /// Floating-point operations, roughly.
    pub flops: u64,
    /// Bytes read and written, at least.
    pub bytes: u64,
    /// The graph's node that it computes.
    pub node: NodeId,
}

impl Step {
    /// All that it writes.
    pub fn writes(&self) -> impl Iterator<Item = BufferId> + '_ {
        self.write.into_iter().chain(self.kernel.moments()).chain(self.kernel.further().iter().map(|further| further.buffer))
    }
}

/// A launch that a device has run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Launched {
    /// The plan's step that it belongs to.
    pub step: usize,
    /// The kernel variant's name.
    pub name: String,
    /// Its time on the device; `None` where nothing measures it.
    pub time: Option<Duration>,
}

/// A compiled graph.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The launches, in order.
    pub steps: Vec<Step>,
    /// Every value that is materialised.
    pub buffers: Vec<BufferInfo>,
    /// The size of each slot in bytes.
    pub slots: Vec<usize>,
    /// Per graph output, where its value is: usually a buffer placed at that output. An output may also be a leaf.
    pub outputs: Vec<BufferId>,
}
