//! Rows of a table by index: `shaders/gather.wgsl`.

use super::{scalar_type, word};
use crate::error::{Error, Result};
use crate::gpu::program::{Caps, Lowered, Operand, Program};
use crate::gpu::shader::Shader;
use crate::plan::{Kernel, Plan, Step};

/// Lowers a [`Kernel::Gather`].
pub(crate) fn lower(step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    let Kernel::Gather { rows, cols, n } = step.kernel else {
        return Err(Error::internal("gather::lower got another kernel"));
    };
    let kind = scalar_type(plan.buffers[step.reads[0]].dtype);
    // Rows move as vectors where they divide into them.
    let (kind, cols) = if cols % 4 == 0 { (format!("vec4<{kind}>"), cols / 4) } else { (kind.to_string(), cols) };
    let program = Program {
        name: "gather".into(),
        source: Shader::new().set("TYPE", kind).render("gather")?,
        operands: vec![Operand::Read(0), Operand::Read(1), Operand::Write],
        record: vec![word(n * cols), word(rows), word(cols), word(0)],
        grid: caps.grid((n * cols).div_ceil(64)),
    };
    Ok(Lowered { programs: vec![program], scratch: vec![] })
}
