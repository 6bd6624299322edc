//! Cross entropy of logits and labels, and its gradient: `shaders/cross_entropy.wgsl`.

use super::softmax::RowLaunch;
use super::source::check_loops;
use super::source::{need_f32, word};
use crate::error::Result;
use crate::gpu::program::{Caps, Lowered, Operand, Program};
use crate::gpu::shader::Shader;
use crate::plan::{Plan, Row, Step};

/// Lowers a cross entropy, or its gradient.
pub(crate) fn lower(row: &Row, grad: bool, step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    let [rows, cols] = row.x;
    need_f32("cross_entropy", step, plan, if grad { &[0, 2] } else { &[0] })?;
    let launch = RowLaunch::of(cols, caps);
    check_loops(step.kernel.name(), 3 * cols.div_ceil(launch.lanes), caps)?;
    let source = launch.fill(Shader::new().set("GRAD", usize::from(grad))).render("cross_entropy")?;
    let mut operands: Vec<Operand> = (0..step.reads.len()).map(Operand::Read).collect();
    operands.push(Operand::Write);
    let record = vec![word(rows), word(cols), word(0), word(0)];
    let grid = caps.grid(rows.div_ceil(launch.rows));
    let program = Program { name: step.kernel.name().into(), source, operands, record, grid };
    Ok(Lowered { programs: vec![program], scratch: vec![] })
}
