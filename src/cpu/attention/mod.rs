//! Attention without its matrix of scores: blocks of queries meet blocks of keys, through products in a thread's own memory.

mod blocks;
#[cfg(test)]
pub(crate) mod examples;
mod forward;
mod gradient;
pub(super) mod reference;
mod scores;

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::attention::AttentionPart;
use crate::plan::{Attention, BufferInfo};
use bytemuck::cast_slice_mut;

/// Checks that all operands are within their buffers.
pub(super) fn check(kernel: &Attention, reads: &[&BufferInfo]) -> Result<()> {
    let name = kernel.op.name();
    if reads.len() != kernel.operands.len() {
        return Err(Error::internal(format!("{name} needs {} operands", kernel.operands.len())));
    }
    for (n, (view, read)) in kernel.operands.iter().zip(reads).enumerate() {
        let reach = view.shape.iter().zip(view.strides()).map(|(&len, &step)| (len as i64 - 1) * step).sum::<i64>();
        if view.offset < 0 || view.offset + reach >= read.len as i64 {
            return Err(Error::internal(format!("{name}: {view:?} reaches outside its {} elements", read.len)));
        }
        if read.dtype != DType::F32 && !(kernel.op.mask_operand() == Some(n) && read.dtype == DType::Bool) {
            return Err(Error::internal(format!("{name}: operand {n} is {}", read.dtype)));
        }
    }
    Ok(())
}

/// The floats that a thread works in.
pub(super) fn scratch(kernel: &Attention) -> usize {
    match kernel.op.part {
        AttentionPart::Forward => forward::scratch(&kernel.sizes),
        AttentionPart::Gradient => gradient::scratch(&kernel.sizes),
    }
}

/// Runs an attention or its gradient.
pub(super) fn run(kernel: &Attention, operands: &[&[u32]], out: &mut [u32]) -> Result<()> {
    let out: &mut [f32] = cast_slice_mut(out);
    match kernel.op.part {
        AttentionPart::Forward => forward::run(kernel, operands, out),
        AttentionPart::Gradient => gradient::run(kernel, operands, out),
    }
}
