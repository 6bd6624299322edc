//! Steps of a plan as WGSL programs: one file per kernel family, named as its file in `shaders/`.

pub(crate) mod arg_reduce;
mod assumed;
pub(crate) mod attention;
pub(crate) mod check_indices;
pub(crate) mod conv2d;
pub(crate) mod cross_entropy;
pub(crate) mod elementwise;
mod epilogue;
pub(crate) mod gather;
mod groups;
pub(crate) mod matmul;
pub(crate) mod optim;
mod pack;
mod path;
pub(crate) mod pool;
pub(crate) mod recurrent;
pub(crate) mod reduce;
pub(crate) mod row_norm;
mod rows;
pub(crate) mod scatter_add;
pub(crate) mod softmax;
pub(crate) mod sort;
pub(crate) mod source;
mod tile;
mod transpose;
pub(crate) mod vector;

#[cfg(any(test, feature = "lab"))]
#[cfg_attr(not(feature = "lab"), allow(dead_code, reason = "tests use a part of what benchmarks use"))]
pub(crate) mod lab;
#[cfg(feature = "lab")]
pub(crate) mod rates;
#[cfg(test)]
mod tests;
#[cfg(any(test, feature = "lab"))]
pub(crate) mod variants;

use super::program::{Caps, Lowered};
use crate::error::{Error, Result};
use crate::graph::row::RowOp;
use crate::plan::{Kernel, Plan, Step};
use optim::Control;

/// The programs that run a step.
///
/// # Errors
/// [`Error::Unsupported`] for dtypes or sizes that the kernel cannot take.
pub(crate) fn lower(step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    // Kernels count on at least one result: they clamp addresses to the last one.
    if step.write.is_some_and(|w| plan.buffers[w].len == 0) {
        return Ok(Lowered::default());
    }
    let lowered = launches(step, plan, caps)?;
    let idle = lowered.programs.is_empty() || lowered.programs.iter().any(|p| p.grid.contains(&0));
    if idle && step.write.is_some() {
        return Err(Error::internal(format!("{} has elements to write and launches nothing", step.kernel.name())));
    }
    Ok(lowered)
}

fn launches(step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    match &step.kernel {
        Kernel::Elementwise(_) => elementwise::lower(step, plan, caps),
        Kernel::Reduce { .. } => reduce::lower(step, plan, caps),
        Kernel::Pair { .. } => reduce::lower(step, plan, caps),
        Kernel::ArgReduce { .. } => arg_reduce::lower(step, plan, caps),
        Kernel::MatMul(_) => matmul::lower(step, plan, caps),
        Kernel::Conv2d(_) => conv2d::lower(step, plan, caps),
        Kernel::Pack { .. } => pack::lower(step, plan, caps),
        Kernel::Attention(_) => attention::lower(step, plan, caps),
        Kernel::Recurrent(op) => recurrent::lower(*op, step, plan, caps),
        Kernel::Pool { .. } => pool::lower(step, plan, caps),
        Kernel::Row(row) => match row.op {
            RowOp::ArgSort { descending } => sort::lower(row, descending, step, plan, caps),
            RowOp::Softmax { log } => softmax::lower(row, log, step, plan, caps),
            RowOp::SoftmaxGrad { log } => softmax::lower_grad(row, log, step, plan, caps),
            RowOp::CrossEntropy => cross_entropy::lower(row, step, plan, caps),
            RowOp::CrossEntropyGrad => cross_entropy::lower_grad(row, step, plan, caps),
            RowOp::RowNorm(norm) => row_norm::lower(&norm, row, step, plan, caps),
            RowOp::RowNormGrad(norm) => row_norm::lower_gradient(&norm, row, step, plan, caps),
            RowOp::Gather => gather::lower(row, step, plan, caps),
            RowOp::ScatterAdd => scatter_add::lower(row, step, plan, caps),
            RowOp::Check { len, site } => check_indices::lower(len, site, step, plan, caps),
        },
        Kernel::OptimStep { blocks: 0, .. } => Ok(Lowered::default()),
        Kernel::OptimStep { rule, gated, clipped, blocks, entries, .. } => {
            let end = entries.last().map_or(0, |&last| last as usize + 1);
            optim::lower_store(*rule, Control { gated: *gated, clipped: *clipped }, *blocks, end, caps)
        }
    }
}
