//! Writes to cells, and optimizer steps: they come last, when every reader of the old values has run.

use super::{Attempt, Builder, Lowering};
use crate::error::{Error, Result};
use crate::graph::optim::BLOCK;
use crate::graph::{NodeId, Op, View};
use crate::plan::{BufferId, BufferInfo, Expr, Kernel, Place, Term};
use std::collections::HashSet;

impl Lowering<'_> {
    /// Writes to cells and optimizer steps come last, when every reader of the old values has run.
    pub(super) fn lower_effects(&mut self) -> Result<()> {
        let graph = self.graph;
        self.lower_assigns()?;
        for node in &graph.nodes {
            let Op::OptimStep { rule, gated, clipped, entries } = &node.op else { continue };
            let store = self.position[node.inputs[0]];
            let gradients = &node.inputs[1 + usize::from(*gated)..];
            let mut reads = Vec::new();
            if *gated {
                let gate = node.inputs[1];
                reads.push(match self.buffer[gate] {
                    Some(buffer) => buffer,
                    None => self.carry(|l| l.copy_to(gate, Place::Slot(l.plan.buffers.len())))?,
                });
            }
            let block_count = |&g: &NodeId| graph.nodes[g].shape.numel().div_ceil(BLOCK);
            let blocks = gradients.iter().map(block_count).sum();
            for (&gradient, &entry) in gradients.iter().zip(entries) {
                let buffer = self.carry(|l| l.gradient(gradient, store, entry))?;
                if !self.options.gradient_arena {
                    reads.push(buffer);
                }
            }
            let (rule, gated, clipped) = (*rule, *gated, *clipped);
            let kernel = Kernel::OptimStep { store, rule, gated, clipped, entries: entries.clone(), blocks };
            self.push_step(kernel, reads, None);
        }
        Ok(())
    }

    /// Puts a gradient where the optimizer step will look for it.
    fn gradient(&mut self, id: NodeId, store: usize, entry: u32) -> Attempt<BufferId> {
        let place = Place::Gradient { store, entry };
        let mut origin = id;
        while self.graph.nodes[origin].op == Op::Reshape && self.buffer[origin].is_none() && self.uses[origin] == 1 {
            origin = self.graph.nodes[origin].inputs[0];
        }
        let same_len = self.graph.nodes[origin].shape.numel() == self.graph.nodes[id].shape.numel();
        if let Some(buffer) = self.buffer[origin].filter(|_| same_len) {
            if !self.options.gradient_arena {
                return Ok(buffer);
            }
            // Only the optimizer reads it: the kernel that computes it may write to the arena directly.
            if !self.read.contains(&buffer) && self.uses[origin] == 1 && matches!(self.plan.buffers[buffer].place, Place::Slot(_))
            {
                self.plan.buffers[buffer].place = place;
                return Ok(buffer);
            }
        }
        let place = if self.options.gradient_arena { place } else { Place::Slot(self.plan.buffers.len()) };
        self.copy_to(id, place)
    }

    /// Writes each assigned value to its cell, in place where the value reads that cell element by element.
    fn lower_assigns(&mut self) -> Result<()> {
        let graph = self.graph;
        let assigns: Vec<(NodeId, NodeId)> =
            graph.nodes.iter().filter(|n| n.op == Op::Assign).map(|n| (n.inputs[0], n.inputs[1])).collect();
        let leaves = assigns.iter().map(|a| self.buffer[a.0]).collect::<Option<Vec<_>>>();
        let leaves = leaves.ok_or_else(|| Error::internal("an assignment's cell has no buffer"))?;
        let overwritten: HashSet<BufferId> = leaves.iter().copied().collect();
        let mut writes = Vec::new();
        for (&(cell, value), &leaf) in assigns.iter().zip(&leaves) {
            let node = &graph.nodes[cell];
            let (mut expr, mut reads) = self.carry(|l| {
                let mut builder = Builder::new(node.shape, None);
                let root = l.value(&mut builder, value, &[])?;
                Ok((builder.expr.finish(root), builder.reads))
            })?;
            let own = reads.iter().position(|&b| b == leaf);
            let shuffled = expr
                .terms
                .iter()
                .any(|(t, _)| matches!(t, Term::Load { operand, view } if Some(*operand) == own && !view.is_identity()));
            if shuffled || reads.iter().any(|b| *b != leaf && overwritten.contains(b)) {
                // Read before anything is overwritten; copied in afterwards.
                let place = Place::Slot(self.plan.buffers.len());
                self.plan.buffers.push(BufferInfo { place, dtype: node.dtype, len: node.shape.numel() });
                let copy = self.plan.buffers.len() - 1;
                self.push_step(Kernel::Elementwise(expr), reads, Some(copy));
                expr = Expr::new(node.shape);
                let load = expr.push(Term::Load { operand: 0, view: View::contiguous(node.shape) }, node.dtype);
                (expr, reads) = (expr.finish(load), vec![copy]);
            }
            writes.push((expr, reads, leaf));
        }
        for (expr, reads, leaf) in writes {
            self.push_step(Kernel::Elementwise(expr), reads, Some(leaf));
        }
        Ok(())
    }
}
