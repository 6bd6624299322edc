//! What an evaluation keeps: values that backward will read, and what live handles need of cells that it overwrites.
//!
//! A handle whose value the evaluation computes anyway gets it. For any other, what it needs is kept: values on the way that have
//! a buffer anyway, and beyond them the cells' old contents. Nothing is computed that nobody reads, with one exception: results
//! of few elements, such as a loss, that take only a few more nodes.

use super::gather::Numbering;
use crate::error::Result;
use crate::graph::op::by_operand;
use crate::graph::saved::Kept;
use crate::graph::{NodeId, Op};
use crate::lazy::{Cell, Device, Holding, Node};
use crate::storage::Storage;
use crate::storage::pool::Counted;
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::Arc;

/// Results of at most this many elements, such as a loss per example, are computed along the way if at most [`FEW_NODES`] nodes
/// are missing, with no more elements together than this, or than are computed anyway.
const FEW_ELEMENTS: usize = 4096;
const FEW_NODES: u32 = 64;

/// What is below a node.
#[derive(Debug, Clone, Copy, Default)]
struct Below {
    /// Nodes of the evaluation.
    numbered: bool,
    /// Cells that it does not read.
    cells: bool,
    /// Something whose value cannot be had any more.
    lost: bool,
    /// Nodes that are not part of the evaluation, and their elements; one that is reached in two ways counts twice.
    nodes: u32,
    elements: usize,
}

impl Below {
    fn join(self, other: Self) -> Self {
        Self {
            numbered: self.numbered | other.numbered,
            cells: self.cells | other.cells,
            lost: self.lost | other.lost,
            nodes: self.nodes.saturating_add(other.nodes),
            elements: self.elements.saturating_add(other.elements),
        }
    }

    /// Whether the evaluation, which computes `computed` elements, can compute this along the way.
    fn is_little(self, computed: usize) -> bool {
        self.numbered && !self.lost && self.nodes <= FEW_NODES && self.elements <= computed.max(FEW_ELEMENTS)
    }
}

/// What is to be kept.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Nodes whose values must stay obtainable.
    nodes: Vec<Arc<Node>>,
    /// Nodes whose gradients must: all that is below them counts, computed or not.
    differentiable: Vec<Arc<Node>>,
    /// Nodes whose values handles have, or need for their own.
    held: FxHashSet<u64>,
}

impl Wanted {
    /// The values that gradient rules of nodes under these roots will read.
    pub fn saved(roots: &[Arc<Node>]) -> Self {
        let mut wanted = Self::default();
        let mut seen: FxHashSet<u64> = FxHashSet::default();
        let mut stack: Vec<Arc<Node>> = roots.iter().filter(|n| n.requires_grad).cloned().collect();
        while let Some(node) = stack.pop() {
            if !seen.insert(node.id) || node.is_realised() || node.cell_read().is_some() {
                continue;
            }
            let inputs = node.inputs();
            kept_by(&node, &inputs, |saved| {
                if !saved.op.is_source() {
                    wanted.nodes.push(saved.clone());
                }
            });
            stack.extend(inputs.iter().filter(|i| i.requires_grad).cloned());
        }
        wanted
    }

    /// What this thread's training pass tracks and the evaluation can compute along the way: the next step wants its values,
    /// which then do not hold on to all that they are made of.
    pub fn tracked(numbering: &mut Numbering, device: &Device) -> Result<()> {
        let (mut known, mut few, computed) = (FxHashMap::default(), Vec::new(), numbering.elements());
        for assign in device.pending().iter().filter(|a| a.target().is_some_and(|t| t.tracks)) {
            let inputs = assign.inputs();
            let Some(source) = inputs.first().filter(|s| !s.is_realised()) else { continue };
            let below = below(numbering, source, &mut known);
            if below.is_little(computed) && source.shape.numel() <= FEW_ELEMENTS {
                few.push(source.clone());
            }
        }
        numbering.out.along |= !few.is_empty();
        numbering.add(few)
    }

    /// What live handles, and assignments that do not run, need of the cells that the evaluation overwrites. With `along`,
    /// results that take little more are added to the evaluation.
    pub fn endangered(numbering: &mut Numbering, device: &Device, along: bool) -> Result<Self> {
        let mut wanted = Self::default();
        let (mut known, mut few, computed) = (FxHashMap::default(), Vec::new(), numbering.elements());
        let handles = device.live_handles();
        for handle in &handles {
            let node = &handle.node;
            if node.cell_read().is_some() {
                wanted.nodes.push(node.clone());
            } else if !node.is_realised() {
                let below = below(numbering, node, &mut known);
                // What other threads hold at the moment would give every step a different plan.
                let along = along && handle.is_own() && below.is_little(computed) && !below.cells;
                if along && node.shape.numel() <= FEW_ELEMENTS {
                    few.push(node.clone());
                } else if !below.lost && (below.numbered || below.cells) {
                    wanted.nodes.push(node.clone());
                }
            }
            // Another thread may be about to go backward from here. In this one the step comes after, as the program says.
            if node.requires_grad && !node.is_differentiated() && !node.op.is_source() && !handle.is_own() {
                wanted.differentiable.push(node.clone());
            }
        }
        let mut tracked = Vec::new();
        for assign in device.all_pending() {
            if numbering.number_of(&assign).is_some() {
                continue;
            }
            let own = assign.target().is_some_and(|t| t.tracks && t.cell.pending().is_some_and(|p| p.id == assign.id));
            let below = below(numbering, &assign, &mut known);
            if own && numbering.is_step() && !below.lost && (below.numbered || below.nodes <= FEW_NODES) {
                tracked.push(assign);
            } else {
                wanted.nodes.push(assign);
            }
        }
        // Leaves of what handles need are realised nodes, too.
        wanted.held.extend(known.keys().copied());
        wanted.held.extend(handles.iter().map(|h| h.node.id));
        numbering.out.along |= !few.is_empty();
        numbering.add_tracked(tracked)?;
        numbering.add(few)?;
        // Dropped last: a handle's drop may free what was inspected.
        drop(handles);
        Ok(wanted)
    }

    /// Adds what else is wanted.
    pub fn join(&mut self, other: Self) {
        self.nodes.extend(other.nodes);
        self.differentiable.extend(other.differentiable);
        self.held.extend(other.held);
    }

    /// Frees what was saved for a backward pass that the step has run, unless a handle has it or, according to `resolved`, is
    /// made of it.
    pub fn release(&self, saved: &[Arc<Node>], resolved: &Resolved) {
        for node in self.unheld(saved).filter(|node| !resolved.realised.contains(&node.id)) {
            let mut state = node.state();
            let freed = (state.value.take(), state.kept.take());
            drop(state);
            drop(freed);
        }
    }

    /// What was saved for the backward pass that a step runs, and nobody reads after it: the step may work in its memory.
    pub fn spent(&self, saved: &[Arc<Node>]) -> Vec<Arc<Node>> {
        let mut spent: Vec<_> = self.unheld(saved).cloned().collect();
        if !spent.is_empty() {
            let mut needed = FxHashSet::default();
            descend(&self.nodes, |node| {
                let is_realised = node.is_realised();
                needed.extend(is_realised.then_some(node.id));
                !is_realised
            });
            // A node has its value, and the evaluation has bound it; whoever else has it may read it.
            let is_own = |node: &Node| node.memory().is_ok_and(|storage| storage.owners() == 3);
            spent.retain(|node| !needed.contains(&node.id) && is_own(node));
        }
        spent
    }

    /// What was saved and differentiated, and no handle has or can be differentiated through.
    fn unheld<'n>(&'n self, saved: &'n [Arc<Node>]) -> impl Iterator<Item = &'n Arc<Node>> {
        let can_be_again = !self.differentiable.is_empty();
        saved.iter().filter(move |node| !can_be_again && node.is_differentiated() && !self.held.contains(&node.id))
    }

    /// The nodes of the evaluation from which what is wanted can be computed, ascending.
    pub fn wishes(&self, numbering: &Numbering) -> Vec<NodeId> {
        let mut wishes = Vec::new();
        descend(&self.nodes, |node| {
            if node.is_check() {
                return true;
            }
            if let Some(id) = numbering.number_of(node) {
                if node.cell_read().is_none() && !node.is_realised() && !node.op.is_source() {
                    wishes.push(id);
                }
                return false;
            }
            !node.is_realised()
        });
        wishes.sort_unstable();
        wishes.dedup();
        wishes
    }

    /// The nodes that the values of these numbers, which are kept on the way, belong to; and the nodes that read a cell whose
    /// old contents must be kept.
    pub fn resolve(&self, numbering: &Numbering, kept: &[NodeId], overwritten: &FxHashSet<u64>) -> Resolved {
        let mut resolved = Resolved::default();
        let mut read = |node: &Arc<Node>| match node.cell_read() {
            Some((cell, version)) if !node.is_realised() => {
                if overwritten.contains(&cell.id) && cell.contents(version).is_ok() {
                    resolved.readers.push((cell.clone(), node.clone()));
                }
                true
            }
            read => read.is_some(),
        };
        let (mut values, mut realised) = (Vec::new(), FxHashSet::default());
        descend(&self.nodes, |node| {
            if read(node) {
                return false;
            }
            if node.is_realised() {
                realised.insert(node.id);
                return false;
            }
            if node.is_check() {
                return true;
            }
            match numbering.number_of(node).filter(|id| kept.binary_search(id).is_ok()) {
                Some(id) => {
                    values.push((id, node.clone()));
                    false
                }
                None => true,
            }
        });
        descend(&self.differentiable, |node| !read(node));
        (resolved.values, resolved.realised) = (values, realised);
        resolved
    }
}

/// What [`Wanted::resolve`] found.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    /// Nodes that get the value of an output that nobody asked for.
    pub values: Vec<(NodeId, Arc<Node>)>,
    readers: Vec<(Arc<Cell>, Arc<Node>)>,
    /// Nodes in memory that what is wanted is made of.
    realised: FxHashSet<u64>,
}

impl Resolved {
    /// Gives all readers of a cell's old contents one copy of them. If there is no memory for a copy, its readers fail: that is
    /// their error, not the step's.
    pub fn keep_contents(&self, device: &Device) {
        let mut copies: FxHashMap<u64, Option<(Storage, Arc<Counted>)>> = FxHashMap::default();
        for (cell, reader) in &self.readers {
            let copy = copies.entry(cell.id).or_insert_with(|| {
                let copy = device.executor().duplicate(&cell.storage(), cell.dtype, cell.shape.numel()).ok()?;
                Some((copy, device.count(Holding::Old, cell.dtype.bytes(cell.shape.numel()) as u64)))
            });
            if let Some((copy, kept)) = copy {
                let mut state = reader.state();
                (state.value, state.kept) = (Some(copy.clone()), Some(kept.clone()));
            }
        }
    }
}

/// Visits what is below some nodes, each once, as long as `enter` says so.
fn descend(roots: &[Arc<Node>], mut enter: impl FnMut(&Arc<Node>) -> bool) {
    let mut seen: FxHashSet<u64> = FxHashSet::default();
    let mut stack: Vec<Arc<Node>> = roots.iter().rev().cloned().collect();
    while let Some(node) = stack.pop() {
        if seen.insert(node.id) && enter(&node) {
            stack.extend(node.inputs().iter().rev().cloned());
        }
    }
}

/// What is below a node; `known` has what was found before.
fn below(numbering: &Numbering, root: &Arc<Node>, known: &mut FxHashMap<u64, Below>) -> Below {
    let mut stack = vec![(root.clone(), false)];
    while let Some((node, inputs_done)) = stack.pop() {
        if known.contains_key(&node.id) {
            continue;
        }
        let leaf = if numbering.number_of(&node).is_some() {
            Some(Below { numbered: true, ..Below::default() })
        } else if node.is_realised() || (node.op.is_source() && node.op != Op::Cell) {
            Some(Below::default())
        } else {
            let lost = |(cell, version): (&Arc<Cell>, u64)| cell.contents(version).is_err();
            node.cell_read().map(|read| Below { cells: true, lost: lost(read), ..Below::default() })
        };
        if let Some(leaf) = leaf {
            known.insert(node.id, leaf);
            continue;
        }
        let inputs = node.inputs();
        if inputs_done {
            let of = |i: &Arc<Node>| known.get(&i.id).copied().unwrap_or_default();
            let all =
                inputs.iter().map(of).fold(Below { nodes: 1, elements: node.shape.numel(), ..Below::default() }, Below::join);
            known.insert(node.id, all);
        } else {
            stack.push((node, true));
            stack.extend(inputs.iter().map(|i| (i.clone(), false)));
        }
    }
    known.get(&root.id).copied().unwrap_or_default()
}

/// Names the nodes whose values the gradient rule of `node` reads.
fn kept_by(node: &Arc<Node>, inputs: &[Arc<Node>], mut name: impl FnMut(&Arc<Node>)) {
    if let Some(operand) = inputs.first().filter(|operand| by_operand(&node.op, &operand.op)) {
        return name(operand);
    }
    let flows = |i: usize| inputs.get(i).is_some_and(|n| n.requires_grad);
    for kept in node.op.kept() {
        match *kept {
            Kept::Output => name(node),
            Kept::Input(i) => inputs.get(i).into_iter().for_each(&mut name),
            Kept::Factor(i) => inputs.get(i).filter(|_| flows(1 - i)).into_iter().for_each(&mut name),
            Kept::From(i) => inputs.iter().skip(i).for_each(&mut name),
        }
    }
}
