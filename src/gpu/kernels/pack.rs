//! Weights of convolutions in the order in which tiles read them: `shaders/pack.wgsl`.

use super::source::{Binding, declare, need_f32, word};
use crate::error::{Error, Result};
use crate::gpu::program::{Caps, Lowered, Operand, Program};
use crate::gpu::shader::Shader;
use crate::plan::{Kernel, Plan, Step};

/// Threads of a workgroup, and so lines.
const LANES: usize = 64;

/// The most elements that a thread has under way.
const UNDER_WAY: usize = 16;

/// Lowers a [`Kernel::Pack`].
pub(crate) fn lower(step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    let Kernel::Pack { parts } = &step.kernel else { return Err(Error::internal("pack::lower got another kernel")) };
    need_f32("conv2d", step, plan, &(0..step.reads.len()).collect::<Vec<_>>())?;
    let reads: Vec<Operand> = (0..parts.len()).map(Operand::Read).collect();
    Ok(Lowered { programs: vec![program(parts, &reads, Operand::Write, caps)?], scratch: vec![] })
}

/// Packs operands, each with its lines and taps.
pub(super) fn program(parts: &[[usize; 2]], reads: &[Operand], target: Operand, caps: &Caps) -> Result<Program> {
    let (mut record, mut workgroups, mut place) = (Vec::new(), 0, 0);
    for [lines, taps] in parts {
        record.extend([workgroups, *lines, *taps, place].map(word));
        workgroups += lines.div_ceil(LANES);
        place += lines * taps;
    }
    record.extend([workgroups, 0, 0, 0].map(word));
    let most = parts.iter().map(|[_, taps]| *taps).max().unwrap_or(1);
    let chunk = if caps.short_texts() { 1 } else { most.div_ceil(most.div_ceil(UNDER_WAY)) };
    let mut bindings: Vec<Binding> =
        reads.iter().enumerate().map(|(r, &read)| Binding::new(read, &format!("w{r}"), "f32")).collect();
    bindings.push(Binding::new(target, "out", "f32"));
    let source = Shader::new()
        .set("BINDINGS", declare(record.len(), &bindings).trim_end())
        .set("COUNT", parts.len())
        .set("CHUNK", chunk)
        .render("pack")?;
    let operands = bindings.iter().map(|binding| binding.operand).collect();
    Ok(Program { name: "pack".into(), source, operands, record, grid: caps.grid(workgroups) })
}
