//! Kernels as WGSL programs; one file a family.

pub(crate) mod arg_reduce;
pub(crate) mod elementwise;
pub(crate) mod optim;
pub(crate) mod reduce;
pub(crate) mod source;

use super::program::{Caps, Lowered};
use crate::error::{Error, Result};
use crate::plan::{Kernel, Plan, Step};

/// The programs that carry out a step.
pub(crate) fn lower(step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    match &step.kernel {
        Kernel::Elementwise(_) => elementwise::lower(step, plan, caps),
        Kernel::Reduce { .. } => reduce::lower(step, plan, caps),
        Kernel::ArgReduce { .. } => arg_reduce::lower(step, plan, caps),
        other => Err(Error::internal(format!("no GPU kernel for {}", other.name()))),
    }
}
