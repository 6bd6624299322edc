//! The flag of indices out of range (`shaders/check_indices.wgsl`): by one workgroup, or, where there are many indices, by one for
//! each part of them and one for the parts.

use super::source::{check_loops, word};
use crate::error::Result;
use crate::gpu::program::{Caps, Lowered, Operand, Program, Word};
use crate::gpu::shader::Shader;
use crate::plan::{Plan, Step};

/// Threads of a workgroup.
const SIZE: usize = 64;

/// Indices that a workgroup looks at.
const EACH: usize = 1 << 12;

/// Lowers a check.
pub(crate) fn lower(len: u32, site: u32, step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    let n = plan.buffers[step.reads[0]].len;
    let parts = n.div_ceil(EACH);
    check_loops("check_indices", parts.div_ceil(SIZE) + SIZE, caps)?;
    let program = |mode: &str, operands: Vec<Operand>, [count, each]: [usize; 2]| -> Result<Program> {
        Ok(Program {
            name: format!("check_indices{}", if mode == "PARTS" { "_parts" } else { "" }),
            source: Shader::new().set("MODE", mode).set("SIZE", SIZE).render("check_indices")?,
            operands,
            record: vec![word(count), word(each), Word::U32(len), Word::U32(site)],
            grid: caps.grid(count.div_ceil(each)),
        })
    };
    let (index, flag) = (Operand::Read(0), Operand::Read(1));
    if parts <= 1 {
        return Ok(Lowered { programs: vec![program("WHOLE", vec![index, flag, Operand::Write], [n, n])?], scratch: vec![] });
    }
    let first = program("PARTS", vec![index, Operand::ScratchWrite(0)], [n, EACH])?;
    let last = program("LAST", vec![index, flag, Operand::Write, Operand::ScratchRead(0)], [parts, parts])?;
    Ok(Lowered { programs: vec![first, last], scratch: vec![4 * parts as u64] })
}
