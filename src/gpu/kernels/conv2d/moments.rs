//! The moments of a convolution's result, by the programs of a reduction that come after its own.

use crate::error::{Error, Result};
use crate::gpu::kernels::reduce::{self, Joined, Parts};
use crate::gpu::program::{Caps, Lowered};
use crate::graph::op::PairOp;
use crate::plan::{Conv2d, Kernel, Plan, Step};

/// Adds up the parts of a result and takes its moments, if they are wanted and that can be one. Returns whether it has.
pub(super) fn add_up(lowered: &mut Lowered, parts: Parts, conv: &Conv2d, step: &Step, plan: &Plan, caps: &Caps) -> Result<bool> {
    if !conv.epilogue.is_identity() {
        return Ok(false);
    }
    let joined = Joined { scratch: lowered.scratch.len(), parts: Some(parts) };
    let found = reduction(conv, step).map(|pair| reduce::lower_joined(&pair, plan, caps, joined)).transpose()?.flatten();
    Ok(found.map(|more| append(lowered, more)).is_some())
}

/// Takes the moments of what has been written, if they are wanted.
pub(super) fn take(lowered: &mut Lowered, conv: &Conv2d, step: &Step, plan: &Plan, caps: &Caps) -> Result<()> {
    let Some(pair) = reduction(conv, step) else { return Ok(()) };
    let joined = Joined { scratch: lowered.scratch.len(), parts: None };
    let more = reduce::lower_joined(&pair, plan, caps, joined)?;
    append(lowered, more.ok_or_else(|| Error::internal("moments have no programs"))?);
    Ok(())
}

fn append(lowered: &mut Lowered, more: Lowered) {
    lowered.programs.extend(more.programs);
    lowered.scratch.extend(more.scratch);
}

/// The reduction as a step of its own.
fn reduction(conv: &Conv2d, step: &Step) -> Option<Step> {
    let moments = conv.moments.as_deref()?;
    let kernel =
        Kernel::Pair { op: PairOp::Moments, value: moments.value.clone(), kept: moments.kept, further: moments.further.clone() };
    Some(Step { kernel, reads: step.write.into_iter().collect(), write: Some(moments.buffer), ..step.clone() })
}
