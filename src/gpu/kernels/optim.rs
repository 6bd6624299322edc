//! Optimizers, one dispatch over all parameters: `shaders/sgd.wgsl`, `adam.wgsl`, `rmsprop.wgsl`, `adagrad.wgsl`.

use super::word;
use crate::error::{Error, Result};
use crate::gpu::program::{Arena, Caps, Operand, Program};
use crate::gpu::shader::Shader;
use crate::graph::op::OptimRule;
use crate::optim::store::{BLOCK, OptimStore};
use crate::plan::Storage;

/// The program that updates `blocks` blocks of a store (as [`block_table`] counts them) by a rule.
///
/// # Errors
/// Only if a shader file is broken.
pub(crate) fn lower_store(rule: OptimRule, blocks: usize, caps: &Caps) -> Result<Program> {
    let states = rule.states();
    let shader = Shader::new().set("STATES", states);
    let flag = usize::from;
    let (name, source) = match rule {
        OptimRule::Sgd { momentum, nesterov } => {
            ("sgd", shader.set("MOMENTUM", flag(momentum)).set("NESTEROV", flag(nesterov)).render("sgd")?)
        }
        OptimRule::Adam { amsgrad } => ("adam", shader.set("AMSGRAD", flag(amsgrad)).render("adam")?),
        OptimRule::RmsProp { centered, momentum } => {
            let shader =
                shader.set("CENTERED", flag(centered)).set("MOMENTUM", flag(momentum)).set("VELOCITY", 1 + flag(centered));
            ("rmsprop", shader.render("rmsprop")?)
        }
        OptimRule::AdaGrad => ("adagrad", shader.render("adagrad")?),
    };
    let mut operands = [Arena::Blocks, Arena::Coefficients, Arena::Parameters, Arena::Gradients].map(Operand::Arena).to_vec();
    operands.extend((0..states).map(|s| Operand::Arena(Arena::State(s))));
    let record = vec![word(blocks), word(0), word(0), word(0)];
    Ok(Program { name: name.into(), source, operands, record, grid: caps.grid(blocks) })
}

/// Blocks of the given entries: `{parameter element, gradient and state element, entry, valid length}`.
///
/// # Errors
/// An arena past what 32 bits can address.
pub(crate) fn block_table(store: &OptimStore, entries: &[u32]) -> Result<Vec<[u32; 4]>> {
    let small = |n: u64| u32::try_from(n).map_err(|_| Error::internal(format!("element {n} of an arena is past 32 bits")));
    let mut table = Vec::new();
    for &e in entries {
        let missing = || Error::internal(format!("an optimizer has no entry {e}"));
        let entry = store.entries.get(e as usize).ok_or_else(missing)?;
        let Storage::Gpu(parameter) = &entry.parameter else { return Err(Error::internal("a parameter is not on the GPU")) };
        for at in (0..entry.len).step_by(BLOCK) {
            let first = small(parameter.offset / 4 + at as u64)?;
            let state = small((entry.offset + at) as u64)?;
            table.push([first, state, e, small((entry.len - at).min(BLOCK) as u64)?]);
        }
    }
    Ok(table)
}
