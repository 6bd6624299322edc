//! Weights of convolutions in the order in which tiles of hardware GPUs read them: brought into it once for the forward pass and the
//! input gradient, and those of several convolutions in one launch.

use super::materialise::Options;
use super::{BufferId, BufferInfo, ConvRole, Kernel, Place, Plan, Step, Term};
use crate::dtype::DType;
use std::collections::HashMap;

/// What the channels of a group are a multiple of, on both sides, so that each step of a tile is of one tap.
const CHANNELS: usize = 8;

/// The most taps of a kernel whose weights are packed.
const MAX_TAPS: usize = 256;

/// Weights of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Weights {
    buffer: BufferId,
    /// Pairs of channels, and taps.
    matrix: [usize; 2],
}

impl Weights {
    /// What a step reads that would rather read packed weights.
    fn of(step: &Step, plan: &Plan) -> Option<Self> {
        let Kernel::Conv2d(conv) = &step.kernel else { return None };
        let &[image, buffer, ..] = &step.reads[..] else { return None };
        let [outputs, inputs, kh, kw] = conv.w;
        let wide = [outputs / conv.spec.groups, inputs].iter().all(|channels| channels.is_multiple_of(CHANNELS));
        let is_read_besides = conv.epilogue.terms.iter().any(|(term, _)| matches!(term, Term::Load { operand: 1, .. }));
        let packs = conv.role != ConvRole::WeightGrad
            && wide
            && (2..=MAX_TAPS).contains(&(kh * kw))
            && image != buffer
            && !is_read_besides
            && plan.buffers[buffer].dtype == DType::F32;
        packs.then_some(Self { buffer, matrix: [outputs * inputs, kh * kw] })
    }

    fn len(&self) -> usize {
        self.matrix[0] * self.matrix[1]
    }
}

/// Weights that one launch packs.
struct Group {
    weights: Vec<Weights>,
    /// Of all of them.
    len: usize,
    /// Whether all are there before the first step.
    leaves: bool,
    /// The first step that reads any of them.
    first: usize,
}

/// The weights that convolutions share, by the launches that pack them.
fn groups(plan: &Plan, options: Options) -> (Vec<Group>, HashMap<Weights, (usize, usize)>) {
    let (mut groups, mut places): (Vec<Group>, HashMap<Weights, (usize, usize)>) = Default::default();
    for (first, step) in plan.steps.iter().enumerate() {
        let Some(weights) = Weights::of(step, plan).filter(|weights| !places.contains_key(weights)) else { continue };
        let leaves = matches!(plan.buffers[weights.buffer].place, Place::Leaf(_));
        let joins = |group: &Group| {
            group.leaves
                && leaves
                && group.weights.len() < options.max_operands
                && (group.len + weights.len()) as u64 * 4 <= options.max_bytes
                && group.weights.iter().all(|other| other.buffer != weights.buffer)
        };
        let at = groups.iter().rposition(joins).unwrap_or_else(|| {
            groups.push(Group { weights: Vec::new(), len: 0, leaves, first });
            groups.len() - 1
        });
        let group = &mut groups[at];
        places.insert(weights, (at, group.len));
        group.weights.push(weights);
        group.len += weights.len();
    }
    (groups, places)
}

/// Has convolutions read packed weights, which further steps write: leaves together, where there is room in one buffer, and what a
/// step computes by itself.
pub(super) fn pack(plan: &mut Plan, options: Options) {
    let (groups, places) = groups(plan, options);
    let buffers = plan.buffers.len();
    let mut groups = groups.into_iter().enumerate().peekable();
    for (at, mut step) in std::mem::take(&mut plan.steps).into_iter().enumerate() {
        while let Some((n, group)) = groups.next_if(|(_, group)| group.first == at) {
            plan.buffers.push(BufferInfo { place: Place::Slot(buffers + n), dtype: DType::F32, len: group.len });
            plan.steps.push(Step {
                kernel: Kernel::Pack { parts: group.weights.iter().map(|weights| weights.matrix).collect() },
                reads: group.weights.iter().map(|weights| weights.buffer).collect(),
                write: Some(buffers + n),
                level: 0,
                flops: 0,
                bytes: 2 * 4 * group.len as u64,
                node: step.node,
            });
        }
        if let Some(&(group, offset)) = Weights::of(&step, plan).and_then(|weights| places.get(&weights))
            && let Kernel::Conv2d(conv) = &mut step.kernel
        {
            conv.packed = Some(offset);
            step.reads[1] = buffers + group;
        }
        plan.steps.push(step);
    }
}
