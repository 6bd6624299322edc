//! Sums of rows that share an index: `shaders/scatter_add.wgsl`.

use super::{scalar_type, word};
use crate::error::{Error, Result};
use crate::gpu::program::{Caps, Lowered, Operand, Program};
use crate::gpu::shader::Shader;
use crate::plan::{Kernel, Plan, Step};

/// Lowers a [`Kernel::ScatterAdd`].
pub(crate) fn lower(step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    let Kernel::ScatterAdd { rows, cols, n } = step.kernel else {
        return Err(Error::internal("scatter_add::lower got another kernel"));
    };
    let kind = scalar_type(plan.buffers[step.reads[0]].dtype);
    let (kind, cols) = if cols % 4 == 0 { (format!("vec4<{kind}>"), cols / 4) } else { (kind.to_string(), cols) };
    let program = Program {
        name: "scatter_add".into(),
        source: Shader::new().set("TYPE", kind).render("scatter_add")?,
        operands: vec![Operand::Read(0), Operand::Read(1), Operand::Write],
        record: vec![word(rows * cols), word(rows), word(cols), word(n)],
        grid: caps.grid((rows * cols).div_ceil(64)),
    };
    Ok(Lowered { programs: vec![program], scratch: vec![] })
}
