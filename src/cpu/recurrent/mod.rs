//! Recurrent layers over a sequence: each thread runs some of the sequences through all steps, with the weights in panels.

#[cfg(test)]
pub(crate) mod examples;
mod forward;
mod gradient;
mod panels;
pub(super) mod reference;
mod rows;

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::recurrent::{RecurrentOp, RecurrentPart};
use crate::plan::BufferInfo;
use crate::shape::product;
use bytemuck::cast_slice_mut;

/// Checks that all operands are there.
pub(super) fn check(op: RecurrentOp, reads: &[&BufferInfo]) -> Result<()> {
    let shapes = op.operands();
    if reads.len() != shapes.len() {
        return Err(Error::internal(format!("{} needs {} operands", op.name(), shapes.len())));
    }
    for (n, (shape, read)) in shapes.iter().zip(reads).enumerate() {
        let wanted = if op.masked && n + 1 == shapes.len() { DType::Bool } else { DType::F32 };
        if read.len < product(shape) || read.dtype != wanted {
            return Err(Error::internal(format!("{}: operand {n} is {} of {}, not {shape:?}", op.name(), read.len, read.dtype)));
        }
    }
    Ok(())
}

/// The floats that all threads share, which are the panels, and those that each works in.
pub(super) fn scratch(op: RecurrentOp) -> [usize; 2] {
    let [rows, width] = [op.batch, op.width()];
    match op.part {
        RecurrentPart::Forward { .. } => [panels::len(op.hidden, width), rows * forward::scratch(op)],
        RecurrentPart::Gradient => [panels::len(width, op.hidden), rows * gradient::scratch(op)],
    }
}

/// Runs a recurrent layer or its gradient.
pub(super) fn run(op: RecurrentOp, operands: &[&[u32]], out: &mut [u32]) -> Result<()> {
    let out: &mut [f32] = cast_slice_mut(out);
    match op.part {
        RecurrentPart::Forward { kept } => forward::run(op, kept, operands, out),
        RecurrentPart::Gradient => gradient::run(op, operands, out),
    }
}
