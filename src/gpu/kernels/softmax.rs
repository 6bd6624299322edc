//! Softmax over rows: `shaders/softmax.wgsl`.

use super::source::{MAX_LOOP, check_loops};
use super::source::{need_f32, word};
use crate::error::Result;
use crate::gpu::program::{Caps, Lowered, Operand, Program};
use crate::gpu::shader::Shader;
use crate::plan::{Plan, Row, Step};

/// How threads share rows: one thread per row if rows are short or barriers are expensive, else one workgroup per row.
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
    pub fn of(cols: usize, caps: &Caps) -> Self {
        match (caps.software, cols) {
            // Three passes over a row must stay below the loop limit of software adapters.
            (true, cols) if 3 * cols < MAX_LOOP => Self { lanes: 1, size: 8, rows: 8 },
            (false, ..=64) => Self { lanes: 1, size: 64, rows: 64 },
            (true, _) | (false, 65..) => Self { lanes: 64, size: 64, rows: 1 },
        }
    }

    /// Fills the holes that `common/rows.wgsl` and its users need.
    pub fn fill(&self, shader: Shader) -> Shader {
        shader.set("LANES", self.lanes).set("SIZE", self.size).set("ROWS", self.rows)
    }
}

/// Lowers a softmax, or its logarithm.
pub(crate) fn lower(row: &Row, log: bool, step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    let [rows, cols] = row.x;
    need_f32("softmax", step, plan, &[0])?;
    let launch = RowLaunch::of(cols, caps);
    check_loops("softmax", 3 * cols.div_ceil(launch.lanes), caps)?;
    let source = launch.fill(Shader::new().set("LOG", usize::from(log))).render("softmax")?;
    let program = Program {
        name: if log { "log_softmax" } else { "softmax" }.into(),
        source,
        operands: vec![Operand::Read(0), Operand::Write],
        record: vec![word(rows), word(cols), word(0), word(0)],
        grid: caps.grid(rows.div_ceil(launch.rows)),
    };
    Ok(Lowered { programs: vec![program], scratch: vec![] })
}
