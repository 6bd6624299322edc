//! What no device can hold or count, found in a plan before anything is compiled or allocated.

use super::{Kernel, Plan, Step};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::Graph;

/// Kernels count elements in 32 bits, on every device, so that a program that runs on one is not refused by another.
const MAX_ELEMENTS: u64 = u32::MAX as u64;

/// Refuses a plan with a value past `max_bytes` or with a kernel that visits more elements than 32 bits can count.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub(super) fn check(plan: &Plan, max_bytes: u64) -> Result<()> {
    for step in &plan.steps {
        let name = step.kernel.name();
        need_countable(name, visited(plan, step), DType::F32)?;
        for &b in step.write.iter().chain(&step.reads) {
            need_room(name, plan.buffers[b].len as u64, plan.buffers[b].dtype, max_bytes)?;
        }
    }
    if let Some(step) = plan.steps.iter().find(|s| reads_nothing(plan, s)) {
        return Err(Error::internal(format!("{} computes elements of an empty operand", step.kernel.name())));
    }
    plan.buffers.iter().try_for_each(|b| need_room("eval", b.len as u64, b.dtype, max_bytes))
}

/// Refuses a graph with a value, in memory or stretched, of more elements than kernels count: indices of views stay exact.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub(crate) fn check_nodes(graph: &Graph) -> Result<()> {
    graph.nodes.iter().try_for_each(|n| need_countable(n.op.name(), n.shape.numel() as u64, n.dtype))
}

/// Whether a kernel would make elements of an operand without any. Lowering makes constants of such values, so that no kernel
/// needs to know what it would leave unwritten.
fn reads_nothing(plan: &Plan, step: &Step) -> bool {
    step.write.is_some_and(|w| plan.buffers[w].len > 0) && step.reads.iter().any(|&r| plan.buffers[r].len == 0)
}

/// The elements that a kernel's loops run over: at least what it writes, and for reductions what they read through views.
fn visited(plan: &Plan, step: &Step) -> u64 {
    let inner = match &step.kernel {
        Kernel::Elementwise(e) => e.shape.numel() as u64,
        Kernel::Reduce { value, .. } | Kernel::ArgReduce { value, .. } | Kernel::Pair { value, .. } => value.shape.numel() as u64,
        Kernel::MatMul(m) => product(&[m.batch.numel(), m.k, m.m.max(m.n)]),
        Kernel::Conv2d(_)
        | Kernel::Pack { .. }
        | Kernel::Attention(_)
        | Kernel::Recurrent(_)
        | Kernel::Pool { .. }
        | Kernel::Row(_)
        | Kernel::OptimStep { .. } => 0,
    };
    inner.max(step.write.map_or(0, |w| plan.buffers[w].len as u64))
}

/// A product that stops at the largest number.
pub(super) fn product(factors: &[usize]) -> u64 {
    factors.iter().fold(1, |n, &f| n.saturating_mul(f as u64))
}

fn need_countable(name: &str, elements: u64, dtype: DType) -> Result<()> {
    if elements <= MAX_ELEMENTS {
        return Ok(());
    }
    let reason = format!("{name} would run over {elements} elements, and a kernel runs over {MAX_ELEMENTS} (2^32 - 1) at most");
    let help = "reduce before you expand, or use smaller batches or tensors";
    Err(Error::out_of_memory(elements.saturating_mul(dtype.size() as u64), reason, help))
}

fn need_room(name: &str, elements: u64, dtype: DType, max_bytes: u64) -> Result<()> {
    let bytes = elements.saturating_mul(dtype.size() as u64);
    if bytes <= max_bytes {
        return Ok(());
    }
    let reason = format!("a value of {name} takes {bytes} bytes, and the device's limit is {max_bytes} bytes per buffer");
    Err(Error::out_of_memory(bytes, reason, "use smaller batches or tensors"))
}

/// Floating-point operations of a kernel that writes `written` elements, roughly.
pub(super) fn flops(kernel: &Kernel, written: usize) -> u64 {
    match kernel {
        Kernel::Elementwise(e) => product(&[e.terms.len(), written]),
        Kernel::Reduce { value, .. } | Kernel::ArgReduce { value, .. } | Kernel::Pair { value, .. } => {
            product(&[value.terms.len().max(1), value.shape.numel()])
        }
        Kernel::MatMul(m) => product(&[2, m.k, written]),
        // All three products of a convolution multiply the same pairs.
        Kernel::Conv2d(c) => product(&c.y).saturating_mul(2).saturating_mul(product(&c.w[1..])),
        Kernel::Attention(a) => a.sizes.flops(a.op),
        Kernel::Recurrent(op) => op.flops(),
        Kernel::Pool { spec, y, .. } => product(y).saturating_mul(product(&spec.kernel)),
        Kernel::Row(row) => product(&[row.x[0], row.x[1], row.op.flops(row.x[1])]),
        Kernel::Pack { .. } | Kernel::OptimStep { .. } => 0,
    }
}
