//! Rows of a table by index: `shaders/gather.wgsl`, and `shaders/gather_packed.wgsl` for rows that are not whole words.

use super::source::word;
use crate::error::Result;
use crate::gpu::math::wgsl_type;
use crate::gpu::program::{Caps, Lowered, Operand, Program};
use crate::gpu::shader::Shader;
use crate::plan::{Plan, Row, Step};

/// Lowers a gathering of rows.
pub(crate) fn lower(row: &Row, step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    let ([rows, cols], n) = (row.x, row.out[0]);
    let dtype = plan.buffers[step.reads[0]].dtype;
    let per_word = dtype.per_word();
    if cols % per_word != 0 {
        let program = Program {
            name: "gather_packed".into(),
            source: Shader::new().set("BITS", 32 / per_word).set("PER_WORD", per_word).render("gather_packed")?,
            operands: vec![Operand::Read(0), Operand::Read(1), Operand::Write],
            record: vec![word(n * cols), word(rows), word(cols), word(0)],
            grid: caps.grid((n * cols).div_ceil(64 * per_word)),
        };
        return Ok(Lowered { programs: vec![program], scratch: vec![] });
    }
    // Rows of packed elements that are whole words move as words.
    let (kind, cols) = (wgsl_type(dtype), cols / per_word);
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
