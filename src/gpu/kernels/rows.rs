//! Kernels over the rows of a matrix: softmax, cross-entropy and its gradient, gather, scatter-add.

use super::{need_f32, scalar_type, word};
use crate::error::{Error, Result};
use crate::gpu::program::{Caps, Lowered, Operand, Program};
use crate::gpu::shader::Shader;
use crate::plan::{Kernel, Plan, Step};

/// Lowers the row-wise kernels: one program each.
pub(crate) fn lower(step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    // Few rows are common (a batch); on a GPU small workgroups spread them.
    let lanes = if caps.software { 8 } else { 32 };
    let (file, sizes, threads, lanes, floats) = match step.kernel {
        Kernel::Softmax { rows, cols, .. } => ("softmax", [rows, cols, 0], rows, 64, 1),
        Kernel::CrossEntropy { rows, cols } => ("cross_entropy", [rows, cols, 0], rows, lanes, 1),
        Kernel::CrossEntropyGrad { rows, cols } => ("cross_entropy_grad", [rows, cols, 0], rows, lanes, 1),
        Kernel::Gather { rows, cols, n } => ("gather", [rows, cols, n], n * cols, 64, 0),
        Kernel::ScatterAdd { rows, cols, n } => ("scatter_add", [rows, cols, n], rows * cols, 64, 1),
        _ => return Err(Error::internal("rows::lower got another kernel")),
    };
    need_f32(file, step, plan, &(0..floats).collect::<Vec<_>>())?;
    let mut shader = Shader::new().set("LANES", lanes).set("TYPE", scalar_type(plan.buffers[step.reads[0]].dtype));
    if let Kernel::Softmax { log, .. } = step.kernel {
        shader = shader.set("LOG", usize::from(log));
    }
    let mut operands: Vec<Operand> = (0..step.reads.len()).map(Operand::Read).collect();
    operands.push(Operand::Write);
    let mut record = sizes.map(word).to_vec();
    record.push(word(0));
    let source = shader.render(file)?;
    let program = Program { name: file.into(), source, operands, record, grid: caps.grid(threads.div_ceil(lanes)) };
    Ok(Lowered { programs: vec![program], scratch: vec![] })
}
