//! Optimizer steps: fills `shaders/sgd.wgsl` and its siblings, one dispatch for all parameters of an arena.

use super::word;
use crate::error::{Error, Result};
use crate::gpu::program::{Arena, Caps, Operand, Program};
use crate::gpu::shader::Shader;
use crate::graph::op::OptimRule;
use crate::optim::store::{BLOCK, OptimStore};
use crate::plan::Storage;

/// Blocks of the given entries: `{parameter element, gradient and state element, entry, length}`.
///
/// # Errors
/// An arena past what 32 bits can address.
pub(crate) fn block_table(store: &OptimStore, entries: &[u32]) -> Result<Vec<[u32; 4]>> {
    let small = |n: u64| u32::try_from(n).map_err(|_| Error::internal(format!("element {n} of an arena is past 32 bits")));
    let mut table = Vec::new();
    for &e in entries {
        let Some(entry) = store.entries.get(e as usize) else {
            return Err(Error::internal(format!("an optimizer has no entry {e}")));
        };
        let Storage::Gpu(parameter) = &entry.parameter else { return Err(Error::internal("a parameter is not on the GPU")) };
        for at in (0..entry.len).step_by(BLOCK) {
            let first = small(parameter.offset / 4 + at as u64)?;
            let state = small((entry.offset + at) as u64)?;
            table.push([first, state, e, small((entry.len - at).min(BLOCK) as u64)?]);
        }
    }
    Ok(table)
}

/// The program that updates `blocks` blocks.
///
/// # Errors
/// A broken template.
pub(crate) fn lower_store(rule: OptimRule, blocks: usize, caps: &Caps) -> Result<Program> {
    let lanes = if caps.software { 8 } else { 256 };
    let base = Shader::new().set("LANES", lanes);
    let flag = usize::from;
    let (file, shader) = match rule {
        OptimRule::Sgd { momentum, nesterov } => ("sgd", base.set("MOMENTUM", flag(momentum)).set("NESTEROV", flag(nesterov))),
        OptimRule::Adam { amsgrad } => ("adam", base.set("AMSGRAD", flag(amsgrad))),
        OptimRule::RmsProp { centered, momentum } => {
            let velocity = 6 + flag(centered);
            ("rmsprop", base.set("CENTERED", flag(centered)).set("MOMENTUM", flag(momentum)).set("VELOCITY", velocity))
        }
        OptimRule::AdaGrad => ("adagrad", base),
    };
    let mut operands = vec![
        Operand::Arena(Arena::Blocks),
        Operand::Arena(Arena::Coefficients),
        Operand::Arena(Arena::Parameters),
        Operand::Arena(Arena::Gradients),
    ];
    operands.extend((0..rule.states()).map(|s| Operand::Arena(Arena::State(s))));
    let record = vec![word(blocks), word(0), word(0), word(0)];
    Ok(Program { name: file.into(), source: shader.render(file)?, operands, record, grid: caps.grid(blocks) })
}
