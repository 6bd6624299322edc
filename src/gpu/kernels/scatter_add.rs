//! Sums of rows that share an index: `shaders/scatter_add.wgsl`.

use super::source::MAX_LOOP;
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
    let source = Shader::new().set("TYPE", kind).render("scatter_add")?;
    // Each launch adds the rows of one range of indices, short enough for the loop limit of software adapters.
    let programs = (0..n.max(1))
        .step_by(MAX_LOOP)
        .map(|from| Program {
            name: "scatter_add".into(),
            source: source.clone(),
            operands: vec![Operand::Read(0), Operand::Read(1), Operand::Write],
            record: [rows * cols, rows, cols, n.min(from + MAX_LOOP), from, 0, 0, 0].map(word).to_vec(),
            grid: caps.grid((rows * cols).div_ceil(64)),
        })
        .collect();
    Ok(Lowered { programs, scratch: vec![] })
}
