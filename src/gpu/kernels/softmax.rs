//! Softmax over rows, its logarithm, and their gradients: rows in registers by `shaders/softmax_held.wgsl`, longer ones by sums
//! and what follows from them (`rows.rs`); on software adapters `shaders/softmax.wgsl`.

use super::rows::{self, Shares, Sum};
use super::source::{MAX_LOOP, check_loops};
use super::source::{need_f32, word};
use crate::error::Result;
use crate::gpu::program::{Caps, Lowered, Operand, Program};
use crate::gpu::shader::Shader;
use crate::plan::{Plan, Row, Step};

/// How the threads of software adapters share rows: one thread per row, or, if that would loop too often, one workgroup.
pub(crate) struct RowLaunch {
    /// Threads per row.
    pub lanes: usize,
    /// Threads per workgroup.
    pub size: usize,
    /// Rows per workgroup.
    pub rows: usize,
}

impl RowLaunch {
    /// The launch for rows of `cols`.
    pub fn of(cols: usize) -> Self {
        // Three passes over a row must stay below the loop limit of software adapters.
        if 3 * cols < MAX_LOOP { Self { lanes: 1, size: 8, rows: 8 } } else { Self { lanes: 64, size: 64, rows: 1 } }
    }

    /// Fills the holes that `common/rows.wgsl` and its users need.
    pub fn fill(&self, shader: Shader) -> Shader {
        shader.set("LANES", self.lanes).set("SIZE", self.size).set("ROWS", self.rows)
    }
}

/// Lowers a softmax, or its logarithm.
pub(crate) fn lower(row: &Row, log: bool, step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    need_f32("softmax", step, plan, &[0])?;
    let name = if log { "log_softmax" } else { "softmax" };
    let operands = vec![Operand::Read(0), Operand::Write];
    if caps.software {
        let [rows, cols] = row.x;
        let launch = RowLaunch::of(cols);
        check_loops("softmax", 3 * cols.div_ceil(launch.lanes), caps)?;
        let source = launch.fill(Shader::new().set("LOG", usize::from(log))).render("softmax")?;
        let record = vec![word(rows), word(cols), word(0), word(0)];
        let grid = caps.grid(rows.div_ceil(launch.rows));
        return Ok(Lowered { programs: vec![Program { name: name.into(), source, operands, record, grid }], scratch: vec![] });
    }
    if let Some(program) = held(name, row, [log, false], operands, caps)? {
        return Ok(Lowered { programs: vec![program], scratch: vec![] });
    }
    let (first, bytes, parts) = rows::sums("softmax_sums", Sum::Exp, row.x, vec![Operand::Read(0)], caps)?;
    let operands = vec![Operand::Read(0), Operand::ScratchRead(0), Operand::Write];
    let second = rows::apply(name, if log { "LOG" } else { "SOFTMAX" }, row.x, operands, parts, caps)?;
    Ok(Lowered { programs: vec![first, second], scratch: vec![bytes] })
}

/// Lowers the gradient of a softmax, or of its logarithm.
pub(crate) fn lower_grad(row: &Row, log: bool, step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    need_f32("softmax_grad", step, plan, &[0, 1])?;
    let (name, mode) = if log { ("log_softmax_grad", "LOG_GRAD") } else { ("softmax_grad", "SOFTMAX_GRAD") };
    let (y, ct) = (Operand::Read(0), Operand::Read(1));
    if let Some(program) = held(name, row, [log, true], vec![y, ct, Operand::Write], caps)? {
        return Ok(Lowered { programs: vec![program], scratch: vec![] });
    }
    let (sum, summed) = if log { (Sum::Total, vec![ct]) } else { (Sum::Dot, vec![y, ct]) };
    let (first, bytes, parts) = rows::sums("softmax_grad_sums", sum, row.x, summed, caps)?;
    let operands = vec![y, ct, Operand::ScratchRead(0), Operand::Write];
    let second = rows::apply(name, mode, row.x, operands, parts, caps)?;
    Ok(Lowered { programs: vec![first, second], scratch: vec![bytes] })
}

/// The program for rows that registers hold.
fn held(name: &str, row: &Row, [log, grad]: [bool; 2], operands: Vec<Operand>, caps: &Caps) -> Result<Option<Program>> {
    let Some(shares) = Shares::held(row.x, caps) else { return Ok(None) };
    let shader = Shader::new().set("LOG", usize::from(log)).set("GRAD", usize::from(grad));
    let source = shares.fill(shader).render("softmax_held")?;
    Ok(Some(shares.program(name, source, operands, [0, 0], caps)))
}
