//! Numbers the unrealised nodes under some roots canonically, and collects the values that their sources take.

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::executor::Flag;
use crate::graph::layer::Layer;
use crate::graph::row::RowOp;
use crate::graph::{Graph, GraphNode, NodeId, Op};
use crate::lazy::{Cell, Inputs, Node, Payload, Target};
use crate::shape::Shape;
use crate::site::FLAG;
use crate::storage::bindings::{Bindings, Leaf};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What an evaluation is for.
#[derive(Debug, Clone, Default)]
pub(super) struct Purpose {
    /// Whether it is an optimizer's step; what its forward pass tracks goes with it.
    pub step: bool,
    /// One f32 that is 0 if the device is to skip the step.
    pub gate: Option<Arc<Node>>,
}

/// A graph, its data, and which nodes of the lazy graph it stands for.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub graph: Graph,
    pub bindings: Bindings,
    /// The nodes that each of `graph.outputs` realises; usually one.
    pub outputs: Vec<Vec<Arc<Node>>>,
    /// Assignments that run, in program order.
    pub assigned: Vec<Arc<Node>>,
    /// Those of them that go with the step and depend on its gate.
    pub tracked: Vec<Arc<Node>>,
    /// Nodes that assignments were anchored at.
    anchors: Vec<Arc<Node>>,
    /// Differentiable values that are read from memory: kept for a backward pass, or read before.
    pub saved: Vec<Arc<Node>>,
    /// The cells that an optimizer step updates.
    pub stepped: Vec<Arc<Cell>>,
    /// Checks of indices that run, in program order once they are all there.
    pub checks: Vec<Arc<Node>>,
    /// The node that is the flag after them, and the flag before them.
    pub flag: Option<(NodeId, Flag)>,
    /// Whether gradients of a backward pass are evaluated separately from a step.
    pub gradients: bool,
    /// Whether results of handles that nobody has asked for are computed along the way.
    pub along: bool,
    /// Whether there is a plan.
    pub planned: bool,
}

impl Gathered {
    /// Forgets what was anchored, since it has run.
    pub fn release_anchors(&self) {
        for node in &self.anchors {
            let done = std::mem::take(&mut node.state().anchored);
            drop(done);
        }
    }
}

/// A node that is wanted, and why.
struct Root {
    node: Arc<Node>,
    why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Its value is wanted.
    Value,
    /// It is an assignment, which an evaluated node anchors.
    Anchored,
    /// It is an assignment that goes with the step.
    Tracked,
}

thread_local! {
    /// How many nodes this thread's latest evaluation had: the next one's list is made as long at once.
    static NODES: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// The longest list that is made before it is needed.
const MANY: usize = 1 << 16;

/// Walks depth first, inputs before users, roots in order: equal structures are numbered equally.
pub(super) struct Numbering {
    base: u64,
    purpose: Purpose,
    pub out: Gathered,
    cells: FxHashMap<u64, NodeId>,
    roots: Vec<Root>,
    next: usize,
    /// Why the root that is walked is wanted.
    why: Why,
    /// Whether a profile is being recorded, which has names of layers.
    recorded: bool,
}

impl Numbering {
    /// Numbers nodes above `base`.
    pub fn new(base: u64, purpose: Purpose, recorded: bool) -> Self {
        let roots = purpose.gate.iter().map(|gate| Root { node: gate.clone(), why: Why::Value }).collect();
        let (mut out, cells) = (Gathered::default(), FxHashMap::default());
        out.graph.nodes.reserve_exact(NODES.get().min(MANY));
        Self { base, purpose, out, cells, roots, next: 0, why: Why::Value, recorded }
    }

    /// The last number given.
    pub fn last(&self) -> u64 {
        self.base + 1 + self.out.graph.nodes.len() as u64
    }

    /// Whether it is an optimizer's step.
    pub fn is_step(&self) -> bool {
        self.purpose.step
    }

    /// How many elements all nodes have.
    pub fn elements(&self) -> usize {
        self.out.graph.nodes.iter().map(|n| n.shape.numel()).fold(0, usize::saturating_add)
    }

    /// The gate of the step.
    pub fn gate(&self) -> Option<&Arc<Node>> {
        self.purpose.gate.as_ref()
    }

    /// The nodes whose values are wanted.
    pub fn values(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.roots.iter().filter(|root| root.why == Why::Value).map(|root| &root.node)
    }

    /// A node's number here, if it has one.
    pub fn number_of(&self, node: &Node) -> Option<NodeId> {
        node.number(self.base)
    }

    /// Numbers what is below these nodes, which the evaluation realises.
    pub fn add(&mut self, wanted: impl IntoIterator<Item = Arc<Node>>) -> Result<()> {
        self.roots.extend(wanted.into_iter().map(|node| Root { node, why: Why::Value }));
        self.walk_roots()
    }

    /// Adds assignments that go with the step.
    pub fn add_tracked(&mut self, assigns: impl IntoIterator<Item = Arc<Node>>) -> Result<()> {
        self.roots.extend(assigns.into_iter().map(|node| Root { node, why: Why::Tracked }));
        self.walk_roots()
    }

    fn walk_roots(&mut self) -> Result<()> {
        while let Some(root) = self.roots.get(self.next) {
            let node = root.node.clone();
            self.why = root.why;
            self.next += 1;
            self.walk(node)?;
        }
        Ok(())
    }

    fn walk(&mut self, root: Arc<Node>) -> Result<()> {
        // (node, its inputs, how many of them are done)
        let mut stack: Vec<(Arc<Node>, Inputs, usize)> = Vec::new();
        self.enter(root, &mut stack)?;
        while let Some((_, inputs, done)) = stack.last_mut() {
            if let Some(input) = inputs.get(*done) {
                *done += 1;
                if self.number_of(input).is_none() {
                    let input = input.clone();
                    self.enter(input, &mut stack)?;
                }
                continue;
            }
            if let Some((node, inputs, _)) = stack.pop() {
                self.number(node, &inputs)?;
            }
        }
        Ok(())
    }

    /// Numbers a leaf, or puts a node on the stack.
    fn enter(&mut self, node: Arc<Node>, stack: &mut Vec<(Arc<Node>, Inputs, usize)>) -> Result<()> {
        if self.number_of(&node).is_some() || self.number_leaf(&node)? {
            return Ok(());
        }
        let state = node.state();
        let mut inputs = state.inputs.clone();
        if node.op == Op::Assign
            && let [source, before] = &*inputs
            && (state.assigned.is_some() || before.state().assigned.is_some())
        {
            // The one before has run, and its cell may have moved on since.
            inputs = vec![source.clone()].into();
        }
        if !state.anchored.is_empty() {
            let waiting = state.anchored.iter().filter(|a| a.state().assigned.is_none());
            self.roots.extend(waiting.map(|a| Root { node: a.clone(), why: Why::Anchored }));
            self.out.anchors.push(node.clone());
        }
        if !self.purpose.step
            && let Some(siblings) = &state.siblings
        {
            self.out.gradients = true;
            let others = siblings.iter().filter_map(std::sync::Weak::upgrade).filter(|h| !Arc::ptr_eq(&h.node, &node));
            let others: Vec<_> = others.collect();
            self.roots.extend(others.iter().map(|h| Root { node: h.node.clone(), why: Why::Value }));
            drop(state);
            drop(others);
        } else {
            drop(state);
        }
        stack.push((node, inputs, 0));
        Ok(())
    }

    /// Numbers a node whose value is in memory or is data.
    fn number_leaf(&mut self, node: &Arc<Node>) -> Result<bool> {
        if let Some((cell, _)) = node.cell_read() {
            let kept = node.is_realised();
            if self.recorded {
                self.out.bindings.layers.names.push((cell.id, cell.name()));
            }
            // Two reads of the present contents are one leaf.
            if let Some(&id) = self.cells.get(&cell.id).filter(|_| !kept) {
                node.set_number(self.base, id);
                return Ok(true);
            }
            let storage = node.memory()?;
            if !kept {
                self.cells.insert(cell.id, self.out.graph.nodes.len());
            }
            self.out.bindings.leaves.push(Leaf::Cell(storage));
            self.push(node, Op::Cell, Vec::new());
            return Ok(true);
        }
        let binding = &mut self.out.bindings;
        let op = match (&node.op, &node.payload) {
            _ if node.is_realised() => {
                binding.leaves.push(Leaf::Data(node.memory()?));
                if node.requires_grad && !node.op.is_source() {
                    self.out.saved.push(node.clone());
                }
                Op::Data
            }
            (Op::Scalar, Payload::Scalar(value)) => {
                binding.scalars.push(*value);
                Op::Scalar
            }
            (Op::Random(word), Payload::Random(key)) => {
                binding.randoms.push(*key);
                Op::Random(*word)
            }
            (Op::OptimStore, Payload::Store { store, .. }) => {
                binding.leaves.push(Leaf::Store(store.clone()));
                Op::OptimStore
            }
            (Op::Iota, _) => Op::Iota,
            _ => return Ok(false),
        };
        self.push(node, op, Vec::new());
        Ok(true)
    }

    fn number(&mut self, node: Arc<Node>, inputs: &[Arc<Node>]) -> Result<()> {
        if self.number_of(&node).is_some() {
            return Ok(());
        }
        let lost = || Error::internal(format!("node {} ({}) has lost an input", node.id, node.op.name()));
        if let Some(Target { cell, .. }) = node.target() {
            let mut value = inputs.first().and_then(|i| self.number_of(i)).ok_or_else(lost)?;
            if node.state().assigned.is_none() {
                if self.why == Why::Tracked {
                    value = self.gated(value, cell)?;
                    self.out.tracked.push(node.clone());
                }
                self.out.assigned.push(node.clone());
            }
            // Readers see the assigned value itself; the write to the cell comes last, and once.
            node.set_number(self.base, value);
            return Ok(());
        }
        let ids = inputs.iter().map(|i| self.number_of(i).ok_or_else(lost)).collect::<Result<Vec<_>>>()?;
        if let ([index], true) = (&ids[..], node.is_check()) {
            // The op reads the indices themselves.
            node.set_number(self.base, *index);
            if !node.is_done() {
                self.out.checks.push(node);
            }
            return Ok(());
        }
        if let (Op::OptimStep { entries, .. }, Some(first)) = (&node.op, inputs.first())
            && let Payload::Store { cells, .. } = &first.payload
        {
            self.out.stepped.extend(entries.iter().map(|&entry| cells[entry as usize].clone()));
        }
        if ids.is_empty() && !node.op.is_source() {
            return Err(lost());
        }
        self.push(&node, node.op.clone(), ids);
        Ok(())
    }

    /// `value` if the step is taken, else the cell's contents.
    fn gated(&mut self, value: NodeId, cell: &Arc<Cell>) -> Result<NodeId> {
        let Some(gate) = self.purpose.gate.clone() else { return Ok(value) };
        let open = self.number_of(&gate).ok_or_else(|| Error::internal("a gate has no number"))?;
        let flag = self.add_node(Op::Cast, vec![open], gate.shape, DType::Bool);
        let flag = self.add_node(Op::Reshape, vec![flag], Shape::new(&vec![1; cell.shape.rank()])?, DType::Bool);
        let flag = self.add_node(Op::Expand, vec![flag], cell.shape, DType::Bool);
        let before = self.leaf_of(cell);
        Ok(self.add_node(Op::Where, vec![flag, value, before], cell.shape, cell.dtype))
    }

    /// The leaf that is a cell's present contents.
    fn leaf_of(&mut self, cell: &Arc<Cell>) -> NodeId {
        if let Some(&leaf) = self.cells.get(&cell.id) {
            return leaf;
        }
        self.out.bindings.leaves.push(Leaf::Cell(cell.storage()));
        let leaf = self.add_node(Op::Cell, Vec::new(), cell.shape, cell.dtype);
        self.cells.insert(cell.id, leaf);
        leaf
    }

    fn push(&mut self, node: &Node, op: Op, inputs: Vec<NodeId>) {
        let id = self.add_node(op, inputs, node.shape, node.dtype);
        node.set_number(self.base, id);
        if self.recorded {
            let layers = &mut self.out.bindings.layers.nodes;
            layers.resize(id, Layer::default());
            layers.push(node.layer);
        }
    }

    fn add_node(&mut self, op: Op, inputs: Vec<NodeId>, shape: Shape, dtype: DType) -> NodeId {
        self.out.graph.nodes.push(GraphNode { op, inputs, shape, dtype });
        self.out.graph.nodes.len() - 1
    }

    /// Adds the writes to cells, and lists the outputs.
    pub fn finish(&mut self) -> Result<()> {
        // The last assignment of each cell writes it.
        let mut last: BTreeMap<u64, Arc<Node>> = BTreeMap::new();
        self.out.assigned.sort_by_key(|n| n.id);
        for assign in &self.out.assigned {
            last.extend(assign.target().map(|target| (target.cell.id, assign.clone())));
        }
        let unnumbered = || Error::internal("a root has no number");
        for assign in last.values() {
            let Some(Target { cell, .. }) = assign.target() else { continue };
            let value = self.number_of(assign).ok_or_else(unnumbered)?;
            let leaf = self.leaf_of(cell);
            self.add_node(Op::Assign, vec![leaf, value], cell.shape, cell.dtype);
        }
        let mut outputs: BTreeMap<NodeId, Vec<Arc<Node>>> = BTreeMap::new();
        for root in self.roots.iter().filter(|r| r.why == Why::Value).map(|r| &r.node) {
            // The last assignment's value can be read from its cell; an earlier one's would be lost.
            let readable = match root.target() {
                Some(target) => last.get(&target.cell.id).is_some_and(|l| l.id == root.id),
                None => root.op.is_effect(),
            };
            if !readable && !root.is_realised() && root.cell_read().is_none() {
                let nodes = outputs.entry(self.number_of(root).ok_or_else(unnumbered)?).or_default();
                if nodes.iter().all(|n| n.id != root.id) {
                    nodes.push(root.clone());
                }
            }
        }
        NODES.set(self.out.graph.nodes.len());
        self.out.graph.outputs = outputs.keys().copied().collect();
        self.out.outputs = outputs.into_values().collect();
        self.add_checks()
    }

    /// Adds the checks of indices, one after the other. The flag after the last one is an output that belongs to no node.
    fn add_checks(&mut self) -> Result<()> {
        self.out.checks.sort_by_key(|n| n.id);
        let Some(first) = self.out.checks.first() else { return Ok(()) };
        let before = first.device.flag()?;
        let shape = Shape::of(&[FLAG]);
        self.out.bindings.leaves.push(Leaf::Data(before.storage().clone()));
        let mut flag = self.add_node(Op::Data, Vec::new(), shape, DType::I32);
        let mut done: Vec<(NodeId, u32)> = Vec::new();
        for n in 0..self.out.checks.len() {
            let check = &self.out.checks[n];
            let Op::Row(RowOp::Check { len, site }) = check.op else { continue };
            let index = self.number_of(check).ok_or_else(|| Error::internal("a check has no number"))?;
            // What one call has found to be in range is in range of what is as long.
            if !done.iter().any(|&(i, least)| i == index && least <= len) {
                done.push((index, len));
                flag = self.add_node(Op::Row(RowOp::Check { len, site }), vec![index, flag], shape, DType::I32);
            }
        }
        self.out.graph.outputs.push(flag);
        self.out.outputs.push(Vec::new());
        self.out.flag = Some((flag, before));
        Ok(())
    }
}
