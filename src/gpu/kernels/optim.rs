//! Optimizers, one dispatch over all parameters: `shaders/optim.wgsl` around a rule's own shader, which is its formula; three for
//! LAMB, which needs norms. Two more come first if gradients are clipped by their norm: `grad_squares.wgsl` and
//! `grad_norm.wgsl`.

use super::source::word;
use crate::error::{Error, Result};
use crate::gpu::program::{Arena, Caps, Lowered, Operand, Program};
use crate::gpu::shader::Shader;
use crate::graph::optim::{BLOCK, Gate, OptimRule, State, VARIANTS};
use crate::storage::bindings::OptimStore;

/// What the device decides about a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Control {
    /// Whether the step is taken: the gate is the step's first read.
    pub gated: bool,
    /// Whether the gradients are multiplied by a factor that keeps their norm within a limit.
    pub clipped: bool,
}

/// The programs that update `blocks` blocks of a store (as [`block_table`] counts them) by a rule. `entries` is one more than
/// the highest entry.
///
/// # Errors
/// Only if a shader file is broken.
pub(crate) fn lower_store(rule: OptimRule, control: Control, blocks: usize, entries: usize, caps: &Caps) -> Result<Lowered> {
    let flag = usize::from;
    let Control { gated, clipped } = control;
    let facts = rule.facts();
    let own = if rule == OptimRule::Lamb { vec![blocks as u64 * 16, entries as u64 * 4] } else { vec![] };
    // Scratch memory: the rule's own, the blocks' sums of squares, the gate with the factor.
    let (squares, factor) = (own.len(), own.len() + 1);
    let gate = if clipped { Some(Operand::ScratchRead(factor)) } else { gated.then_some(Operand::Read(0)) };
    let update = {
        let flags = facts.flags.iter().fold(Shader::new(), |shader, (name, on)| shader.set(&name.to_uppercase(), flag(*on)));
        flags.fill(facts.name, facts.shader)?
    };
    let shader = |gradients: bool| {
        let first = 4 + flag(gradients);
        Shader::new()
            .set("UPDATE", &update)
            .set("STATES", bindings(facts.states, first))
            .set("GRADIENTS", flag(gradients))
            .set("GATED", flag(gated))
            .set("CLIPPED", flag(clipped))
            .set("VARIANTS", VARIANTS)
            .set("GATE", gate.map_or(0, |_| first + facts.states.len()))
    };
    let operands = |gradients: bool, last: Option<Operand>| {
        let mut operands = [Arena::Blocks, Arena::Coefficients, Arena::Parameters].map(Operand::Arena).to_vec();
        operands.extend(gradients.then_some(Operand::Arena(Arena::Gradients)));
        operands.extend((0..facts.states.len()).map(|s| Operand::Arena(Arena::State(s))));
        operands.extend(gate);
        operands.extend(last);
        operands
    };
    let record = vec![word(blocks), word(0), word(0), word(0)];
    let program = |name: &str, source, operands| Program {
        name: name.into(),
        source,
        operands,
        record: record.clone(),
        grid: caps.grid(blocks),
    };
    let (mut first, mut scratch) = (Vec::new(), own);
    if clipped {
        scratch.extend([blocks as u64 * 8, 12]);
        let [table, coefficients, gradients] = [Arena::Blocks, Arena::Coefficients, Arena::Gradients].map(Operand::Arena);
        let source = Shader::new().render("grad_squares")?;
        first.push(program("grad_squares", source, vec![table, gradients, Operand::ScratchWrite(squares)]));
        let mut operands = vec![table, coefficients, Operand::ScratchRead(squares), Operand::ScratchWrite(factor)];
        operands.extend(gated.then_some(Operand::Read(0)));
        let per_entry = Gate::variants(gated);
        let source = Shader::new().set("GATED", flag(gated)).set("PER_ENTRY", per_entry).render("grad_norm")?;
        first.push(Program { grid: [1, 1, 1], ..program("grad_norm", source, operands) });
    }
    let all = |then: Vec<Program>| Lowered { programs: first.iter().cloned().chain(then).collect(), scratch: scratch.clone() };
    if rule != OptimRule::Lamb {
        return Ok(all(vec![program(facts.name, shader(true).render("optim")?, operands(true, None))]));
    }
    let (parts, ratios) = (0, 1);
    let after = |gradients: bool| 1 + operands(gradients, None).len();
    let moments = shader(true).set("PARTS", after(true)).render("lamb_moments")?;
    let step = shader(false).set("RATIOS", after(false)).render("lamb_step")?;
    let norms = vec![Operand::Arena(Arena::Blocks), Operand::ScratchRead(parts), Operand::ScratchWrite(ratios)];
    Ok(all(vec![
        program("lamb_moments", moments, operands(true, Some(Operand::ScratchWrite(parts)))),
        program("lamb_norms", Shader::new().render("lamb_norms")?, norms),
        program("lamb_step", step, operands(false, Some(Operand::ScratchRead(ratios)))),
    ]))
}

/// Declares the arenas of a rule's states under their names, from binding `first` on.
fn bindings(states: &[State], first: usize) -> String {
    let line = |(i, state): (usize, &State)| {
        format!("@group(0) @binding({}) var<storage, read_write> {}: array<vec4<f32>>;\n", first + i, state.name)
    };
    states.iter().enumerate().map(line).collect()
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
        let parameter = entry.parameter.on_gpu()?;
        for at in (0..entry.len).step_by(BLOCK) {
            let first = small(parameter.offset / 4 + at as u64)?;
            let state = small((entry.offset + at) as u64)?;
            table.push([first, state, e, small((entry.len - at).min(BLOCK) as u64)?]);
        }
    }
    Ok(table)
}
