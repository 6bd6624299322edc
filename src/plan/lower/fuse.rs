//! Which elementwise kernels run as the epilogue of the product or reduction that feeds them.

use super::{Epilogue, Lowering};
use crate::dtype::DType;
use crate::graph::{NodeId, Op};
use crate::plan::materialise::is_heavy;
use std::collections::HashSet;

/// The most nodes of a kernel that gets an epilogue, operands and views included.
const MAX_INLINED: usize = 256;

impl Lowering<'_> {
    /// Lets elementwise kernels run as the epilogue of the product or reduction that feeds them.
    pub(super) fn choose_epilogues(&mut self) {
        for id in 0..self.graph.nodes.len() {
            let node = &self.graph.nodes[id];
            if !(self.materialised[id] && node.op.is_elementwise()) {
                continue;
            }
            let mut heavies = Vec::new();
            let Some(inlined) = self.inlined(id, &mut heavies) else { continue };
            // The last one: by then every other operand exists.
            let Some(&heavy) = heavies.iter().max() else { continue };
            // The heavy node itself drops out of the reads; its own operands come in.
            let operands = match self.graph.nodes[heavy].op {
                Op::Reduce { .. } => match self.inlined(heavy, &mut Vec::new()) {
                    Some(inlined) => self.buffers_read(&inlined, heavy),
                    None => continue,
                },
                _ => self.graph.nodes[heavy].inputs.len(),
            };
            if operands + self.buffers_read(&inlined, id) > self.options.max_operands + 1 || !self.can_finish(heavy, id, &inlined)
            {
                continue;
            }
            self.finished_by.insert(heavy, id);
            self.epilogues.insert(id, Epilogue { heavy });
        }
    }

    /// The nodes fused into the kernel of `id`; heavy nodes that it reads go to `heavies`. `None` if there are too many to look
    /// at: every kernel may read through a chain of all views before it.
    pub(super) fn inlined(&self, id: NodeId, heavies: &mut Vec<NodeId>) -> Option<HashSet<NodeId>> {
        let mut seen = HashSet::from([id]);
        let mut stack = vec![id];
        while let Some(node) = stack.pop() {
            if seen.len() > MAX_INLINED {
                return None;
            }
            for &input in &self.graph.nodes[node].inputs {
                if !seen.insert(input) {
                    continue;
                }
                if is_heavy(&self.graph.nodes[input].op) {
                    heavies.push(input);
                } else if !self.materialised[input] {
                    stack.push(input);
                }
            }
        }
        Some(seen)
    }

    /// How many buffers a kernel made of these nodes loads.
    pub(super) fn buffers_read(&self, inlined: &HashSet<NodeId>, own: NodeId) -> usize {
        let has_buffer = |&&n: &&NodeId| {
            let op = &self.graph.nodes[n].op;
            n != own && (self.materialised[n] || is_heavy(op) || matches!(op, Op::Data | Op::Cell))
        };
        inlined.iter().filter(has_buffer).count()
    }

    /// Whether everything that is made of `heavy` is computed by the kernel of `id`, element by element.
    pub(super) fn can_finish(&self, heavy: NodeId, id: NodeId, inlined: &HashSet<NodeId>) -> bool {
        let (h, e) = (&self.graph.nodes[heavy], &self.graph.nodes[id]);
        let kernel_has_epilogue =
            matches!(h.op, Op::MatMul | Op::Conv2d(_) | Op::Conv2dInputGrad(_) | Op::Conv2dWeightGrad(_) | Op::Reduce { .. });
        if !kernel_has_epilogue
            || self.is_of_nothing(heavy)
            || self.finished_by.contains_key(&heavy)
            || self.graph.is_output(heavy)
        {
            return false;
        }
        if h.shape.numel() != e.shape.numel() || h.dtype != e.dtype || h.dtype != DType::F32 {
            return false;
        }
        // Every path from the heavy node stays inside the kernel, only through elementwise nodes and reshapes.
        let mut stack = vec![heavy];
        let mut seen = HashSet::from([heavy]);
        while let Some(node) = stack.pop() {
            if node == id {
                continue;
            }
            if self.graph.is_output(node) {
                return false;
            }
            for &user in &self.users[node] {
                let n = &self.graph.nodes[user];
                let transparent = n.op.is_elementwise() || (n.op == Op::Reshape && n.shape.numel() == h.shape.numel());
                if !transparent || !inlined.contains(&user) || (user != id && self.materialised[user]) {
                    return false;
                }
                if seen.insert(user) {
                    stack.push(user);
                }
            }
        }
        // Other operands must exist when the heavy kernel runs: they are numbered below `id`, as is the heavy node, and
        // kernels are emitted at `id`.
        seen.contains(&id)
    }
}
