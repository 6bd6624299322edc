//! The one hook by which the lab and tests force a variant of a kernel.

use super::{conv2d, elementwise, matmul, reduce};
use crate::error::Result;
use crate::gpu::program::{Caps, Lowered};
use crate::plan::{Kernel, Plan, Step};

/// A way to run a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// Of a product.
    MatMul(matmul::Variant),
    /// Of a convolution.
    Conv2d(conv2d::Variant),
    /// Of an elementwise step.
    Elementwise(elementwise::Variant),
    /// Of a reduction.
    Reduce(reduce::Variant),
}

impl Variant {
    /// The variants of a kernel that the lab times and tests force, on every class of device.
    pub fn all(kernel: &Kernel) -> Vec<Self> {
        match kernel {
            Kernel::MatMul(_) => matmul::FORCED.iter().copied().map(Self::MatMul).collect(),
            Kernel::Conv2d(conv) => conv2d::forced(conv.role).iter().copied().map(Self::Conv2d).collect(),
            Kernel::Elementwise(_) => elementwise::FORCED.iter().copied().map(Self::Elementwise).collect(),
            Kernel::Reduce { .. } | Kernel::Pair { .. } => reduce::FORCED.iter().copied().map(Self::Reduce).collect(),
            // One form each, which follows from shape and class.
            Kernel::ArgReduce { .. }
            | Kernel::Pack { .. }
            | Kernel::Attention(_)
            | Kernel::Recurrent(_)
            | Kernel::Pool { .. }
            | Kernel::Row(_)
            | Kernel::OptimStep { .. } => Vec::new(),
        }
    }

    /// The programs that run a step in this way.
    ///
    /// # Errors
    /// As for [`super::lower`]; the step is of another kernel.
    pub fn lower(self, step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
        match self {
            Self::MatMul(variant) => matmul::lower_with(step, plan, caps, variant),
            Self::Conv2d(variant) => conv2d::lower_with(step, plan, caps, variant),
            Self::Elementwise(variant) => elementwise::lower_with(step, plan, caps, variant),
            Self::Reduce(variant) => reduce::lower_with(step, plan, caps, variant),
        }
    }
}
