//! The moments of a convolution's result, which batch normalisation asks for, as part of the convolution: where a second pass adds up
//! the parts of a split product, the values need not be read again.

use super::{BufferId, ConvRole, Kernel, Moments, Plan, Step, Term};
use crate::graph::op::PairOp;

/// The buffer whose elements, each once, a step takes the moments of; nothing else is read.
fn source(step: &Step, plan: &Plan) -> Option<BufferId> {
    match (&step.kernel, &step.reads[..]) {
        (Kernel::Pair { op: PairOp::Moments, value, .. }, &[read]) => match &value.terms[..] {
            [(Term::Load { operand: 0, view }, _)] if view.mask().is_none() && view.offset == 0 => {
                let strides = view.strides();
                let mut axes: Vec<usize> = (0..view.shape.rank()).filter(|&d| view.shape[d] != 1).collect();
                axes.sort_unstable_by_key(|&d| strides[d]);
                let mut next = 1;
                let is_whole = axes.iter().all(|&d| {
                    let follows = strides[d] == next;
                    next *= view.shape[d] as i64;
                    follows
                });
                (is_whole && value.shape.numel() == plan.buffers[read].len).then_some(read)
            }
            _ => None,
        },
        _ => None,
    }
}

/// Lets convolutions compute the moments of what they write, once each.
pub(super) fn join(plan: &mut Plan) {
    let mut at = 0;
    while at < plan.steps.len() {
        let wanted = source(&plan.steps[at], plan);
        let writer = wanted.and_then(|y| plan.steps[..at].iter().position(|step| step.write == Some(y)));
        let is_free = |step: &Step| matches!(&step.kernel, Kernel::Conv2d(conv) if conv.role == ConvRole::Forward && conv.moments.is_none());
        let Some(writer) = writer.filter(|&writer| is_free(&plan.steps[writer])) else {
            at += 1;
            continue;
        };
        let step = plan.steps.remove(at);
        if let (Kernel::Pair { value, kept, further, .. }, Some(buffer)) = (step.kernel, step.write)
            && let Kernel::Conv2d(conv) = &mut plan.steps[writer].kernel
        {
            conv.moments = Some(Box::new(Moments { value, kept, further, buffer }));
            plan.steps[writer].flops += step.flops;
            plan.steps[writer].bytes += step.bytes;
        }
    }
}
