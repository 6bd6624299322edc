//! Cross entropy of logits and labels, which keeps the sums of each row (`shaders/cross_entropy.wgsl`), and its gradient from
//! these.

use super::rows::{self, Shares, Sum};
use super::softmax::RowLaunch;
use super::source::check_loops;
use super::source::{need_f32, word};
use crate::error::Result;
use crate::gpu::program::{Caps, Lowered, Operand, Program};
use crate::gpu::shader::Shader;
use crate::plan::{Plan, Row, Step};

/// Lowers a cross entropy.
pub(crate) fn lower(row: &Row, step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    let [rows, cols] = row.x;
    need_f32("cross_entropy", step, plan, &[0])?;
    let (x, labels) = (Operand::Read(0), Operand::Read(1));
    let program = |source, operands, parts: usize, groups: usize| {
        let lowest = f32::NEG_INFINITY.to_bits() as usize;
        let record = [rows, cols, parts, lowest, 0, 0, 0, 0].map(word).to_vec();
        Program { name: step.kernel.name().into(), source, operands, record, grid: caps.grid(groups) }
    };
    if caps.software {
        let launch = RowLaunch::of(cols);
        check_loops(step.kernel.name(), 3 * cols.div_ceil(launch.lanes), caps)?;
        let source = launch.fill(Shader::new().set("FORM", "two_passes").set("V", 1)).render("cross_entropy")?;
        let program = program(source, vec![x, labels, Operand::Write], 1, rows.div_ceil(launch.rows));
        return Ok(Lowered { programs: vec![program], scratch: vec![] });
    }
    let shares = Shares::sums(row.x, caps);
    if shares.parts == 1 {
        let source = shares.fill(Shader::new().set("FORM", "scan")).render("cross_entropy")?;
        let program = program(source, vec![x, labels, Operand::Write], 1, shares.groups());
        return Ok(Lowered { programs: vec![program], scratch: vec![] });
    }
    let (first, bytes, parts) = rows::sums("cross_entropy_sums", Sum::Exp, row.x, vec![x], caps)?;
    let shader = Shader::new().set("FORM", "parts").set("V", 1).set("LANES", 1).set("SIZE", 64).set("ROWS", 64);
    let operands = vec![x, labels, Operand::ScratchRead(0), Operand::Write];
    let second = program(shader.render("cross_entropy")?, operands, parts, rows.div_ceil(64));
    Ok(Lowered { programs: vec![first, second], scratch: vec![bytes] })
}

/// Lowers the gradient of a cross entropy.
pub(crate) fn lower_grad(row: &Row, step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    need_f32("cross_entropy_grad", step, plan, &[0, 2, 3])?;
    let operands = [0, 1, 2, 3].map(Operand::Read).into_iter().chain([Operand::Write]).collect();
    let program = rows::apply("cross_entropy_grad", "LOSS_GRAD", row.x, operands, 1, caps)?;
    Ok(Lowered { programs: vec![program], scratch: vec![] })
}
