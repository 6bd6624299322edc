//! Writes to cells, and optimizer steps: they come last, when every reader of the old values has run.

use super::{Attempt, Builder, Lowering};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::op::ReduceOp;
use crate::graph::optim::BLOCK;
use crate::graph::{NodeId, Op, View};
use crate::plan::{BufferId, BufferInfo, Expr, Further, Kernel, MatrixView, Place, Step, Term};
use std::collections::HashSet;

/// The most terms of what a reduction writes besides its results.
const MAX_TERMS: usize = 16;

/// Elements of a buffer that are added up: of each line, all steps, of lines that are neighbours.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Lines {
    len: usize,
    steps: usize,
    line: i64,
    step: i64,
    offset: i64,
}

impl Lines {
    /// What a sum reads of a buffer, unless its lines or its steps are not evenly spaced.
    fn of(view: &View, kept: usize) -> Option<Self> {
        let even = |axes: std::ops::Range<usize>| {
            let (mut len, mut stride) = (1, 0);
            for d in axes.rev().filter(|&d| view.shape[d] != 1) {
                if len == 1 {
                    stride = view.strides()[d];
                } else if view.strides()[d] != stride * len as i64 {
                    return None;
                }
                len *= view.shape[d];
            }
            Some((len, stride))
        };
        let ((len, line), (steps, step)) = (even(0..kept)?, even(kept..view.shape.rank())?);
        let is_matrix = view.mask().is_none() && line == 1 && step > 0;
        is_matrix.then_some(Self { len, steps, line, step, offset: view.offset })
    }
}

impl Lowering<'_> {
    /// Writes to cells and optimizer steps come last, when every reader of the old values has run.
    pub(super) fn lower_effects(&mut self) -> Result<()> {
        let graph = self.graph;
        self.lower_assigns()?;
        for (id, node) in graph.nodes.iter().enumerate() {
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
                self.at = gradient;
                let buffer = self.carry(|l| l.gradient(gradient, store, entry))?;
                if !self.options.gradient_arena {
                    reads.push(buffer);
                }
            }
            let (rule, gated, clipped) = (*rule, *gated, *clipped);
            let kernel = Kernel::OptimStep { store, rule, gated, clipped, entries: entries.clone(), blocks };
            self.at = id;
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
                self.join_product(buffer);
                return Ok(buffer);
            }
        }
        let place = if self.options.gradient_arena { place } else { Place::Slot(self.plan.buffers.len()) };
        if self.buffer[id].is_none() && self.options.gradient_arena {
            let mut builder = Builder::new(self.graph.nodes[id].shape, None);
            let root = self.value(&mut builder, id, &[])?;
            let (expr, len) = (builder.expr.finish(root), self.graph.nodes[id].shape.numel());
            if let Some((step, further)) = self.joins(&expr, &builder.reads, None) {
                self.plan.buffers.push(BufferInfo { place, dtype: self.graph.nodes[id].dtype, len });
                let buffer = self.plan.buffers.len() - 1;
                self.join(step, Further { buffer, ..further });
                return Ok(buffer);
            }
        }
        self.copy_to(id, place)
    }

    /// Leaves a sum to a product, if one sums over the same axis of the same buffer: it reads all that is added up.
    fn join_product(&mut self, sum: BufferId) {
        let found = self.plan.steps.iter().position(|step| step.write == Some(sum));
        let Some(at) = found.filter(|_| self.options.sums_in_products) else { return };
        let step = &self.plan.steps[at];
        let Kernel::Reduce { op: ReduceOp::Sum, value, kept, epilogue } = &step.kernel else { return };
        let (&[(Term::Load { operand: 0, view }, DType::F32)], true) = (&value.terms[..], epilogue.is_identity()) else { return };
        let (&[read], Some(lines)) = (&step.reads[..], Lines::of(&view, *kept)) else { return };
        let joins = |step: &Step| match &step.kernel {
            Kernel::MatMul(m) if m.sums.is_none() && step.reads.len() + 2 <= self.options.max_operands => {
                let is = |k: usize, of: Lines| step.reads[k] == read && of == lines;
                let of = |view: &MatrixView, len, line, step| Lines { len, steps: m.k, line, step, offset: view.offset };
                let halves = [of(&m.a, m.m, m.a.row, m.a.col), of(&m.b, m.n, m.b.col, m.b.row)];
                let half = halves.into_iter().enumerate().find(|(k, of)| m.batch.numel() == 1 && is(*k, *of));
                half.map(|(half, _)| half)
            }
            _ => None,
        };
        let product = self.plan.steps.iter().enumerate().find_map(|(n, step)| joins(step).map(|half| (n, half)));
        let Some((product, half)) = product else { return };
        let sums = Further { half, expr: epilogue.clone(), buffer: sum };
        if let Kernel::MatMul(m) = &mut self.plan.steps[product].kernel {
            m.sums = Some(Box::new(sums));
            self.plan.steps.remove(at);
        }
    }

    /// The reduction to pairs that can compute an expression besides, as it is made of one of its results and of the buffer that it
    /// overwrites alone; what its further result is, but for the buffer.
    fn joins(&self, expr: &Expr, reads: &[BufferId], own: Option<BufferId>) -> Option<(usize, Further)> {
        let own = own.and_then(|own| reads.iter().position(|&b| b == own));
        let source = (0..reads.len()).find(|&k| Some(k) != own).filter(|_| reads.len() == 1 + usize::from(own.is_some()))?;
        let step = self.plan.steps.iter().position(|step| step.write == Some(reads[source]))?;
        let Kernel::Pair { further, .. } = &self.plan.steps[step].kernel else { return None };
        let bound = self.plan.steps[step].reads.len() + further.len() + 1;
        let columns = expr.shape.numel();
        let floats = expr.terms.iter().all(|(_, dtype)| *dtype == DType::F32) && expr.terms.len() <= MAX_TERMS;
        if !floats || columns * 2 != self.plan.buffers[reads[source]].len || bound > self.options.max_operands {
            return None;
        }
        let mut half = None;
        let mut of_result = expr.clone();
        for (term, _) in &mut of_result.terms {
            match term {
                Term::Load { operand, view } if *operand == source => {
                    let which = usize::from(view.offset != 0);
                    let mut first = *view;
                    first.offset -= (which * columns) as i64;
                    if !first.is_identity() || half.is_some_and(|half| half != which) {
                        return None;
                    }
                    half = Some(which);
                    *term = Term::Acc;
                }
                Term::Load { operand, view } if view.is_identity() => *operand = 0,
                Term::Load { .. } | Term::Random { .. } | Term::Index { .. } | Term::Valid { .. } => return None,
                _ => {}
            }
        }
        Some((step, Further { half: half?, expr: of_result, buffer: BufferId::MAX }))
    }

    /// Has a reduction to pairs write a further result.
    fn join(&mut self, step: usize, result: Further) {
        if let Kernel::Pair { further, .. } = &mut self.plan.steps[step].kernel {
            further.push(result);
        }
    }

    /// Writes each assigned value to its cell, in place where the value reads that cell element by element.
    fn lower_assigns(&mut self) -> Result<()> {
        let graph = self.graph;
        let assigns: Vec<(NodeId, NodeId)> =
            graph.nodes.iter().filter(|n| n.op == Op::Assign).map(|n| (n.inputs[0], n.inputs[1])).collect();
        let leaves = assigns.iter().map(|a| self.buffer[a.0]).collect::<Option<Vec<_>>>();
        let leaves = leaves.ok_or_else(|| Error::internal("an assignment's cell has no buffer"))?;
        let overwritten: HashSet<BufferId> = leaves.iter().copied().collect();
        let mut writes: Vec<(Expr, Vec<BufferId>, BufferId, NodeId)> = Vec::new();
        for (&(cell, value), &leaf) in assigns.iter().zip(&leaves) {
            let node = &graph.nodes[cell];
            self.at = value;
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
            writes.push((expr, reads, leaf, value));
        }
        let mut early: HashSet<BufferId> = HashSet::new();
        for n in 0..writes.len() {
            let (expr, reads, leaf, _) = &writes[n];
            // Where nobody else reads or writes the cell, it may change before the others.
            let others = writes.iter().enumerate().filter(|(m, _)| *m != n).any(|(_, w)| w.2 == *leaf || w.1.contains(leaf));
            let is_free =
                self.options.gradient_arena && !others && !self.read.contains(leaf) && !self.plan.outputs.contains(leaf);
            let joined = if is_free { self.joins(expr, reads, Some(*leaf)) } else { None };
            if let Some((step, further)) = joined {
                let buffer = *leaf;
                self.join(step, Further { buffer, ..further });
                early.insert(buffer);
            }
        }
        for (expr, reads, leaf, value) in writes.into_iter().filter(|write| !early.contains(&write.2)) {
            self.at = value;
            self.push_step(Kernel::Elementwise(expr), reads, Some(leaf));
        }
        Ok(())
    }
}
