//! Elementwise kernels, and the epilogues of the others.

use super::expr::{BLOCK, Context, Evaluator, Program};
use rayon::prelude::*;

/// Elements of a parallel task, so that a task takes tens of microseconds at least.
fn grain(cost: usize) -> usize {
    (65_536 / cost.max(1)).next_multiple_of(BLOCK).max(BLOCK)
}

/// `out[i] = program(i)`; an accumulator is what was in `out[i]` before.
pub(super) fn run(program: &Program, context: Context, out: &mut [u32]) {
    let grain = grain(program.cost);
    if out.len() <= grain {
        return Evaluator::new(program, context).run(0, out);
    }
    out.par_chunks_mut(grain).enumerate().for_each(|(i, chunk)| Evaluator::new(program, context).run(i * grain, chunk));
}

/// Applies an epilogue to a part of the result that starts at element `start`, on the calling thread.
pub(super) fn epilogue(program: &Program, context: Context, start: usize, out: &mut [u32]) {
    if !program.is_identity {
        Evaluator::new(program, context).run(start, out);
    }
}
