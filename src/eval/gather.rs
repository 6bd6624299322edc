//! Numbers the unrealised nodes under some roots canonically, and collects the values that their sources take.

use crate::error::{Error, Result};
use crate::graph::{Graph, GraphNode, NodeId, Op};
use crate::lazy::Cell;
use crate::lazy::{Node, Payload};
use crate::storage::bindings::{Bindings, Leaf};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// A graph, its data, and which nodes of the lazy graph it stands for.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub graph: Graph,
    pub bindings: Bindings,
    /// The nodes that each of `graph.outputs` realises; usually one.
    pub outputs: Vec<Vec<Arc<Node>>>,
    /// Assignments that run, in program order.
    pub assigned: Vec<Arc<Node>>,
    /// Every node that was reached while unrealised.
    pub visited: Vec<Arc<Node>>,
    /// The cells that the evaluation overwrites, by id.
    pub overwritten: HashSet<u64>,
    /// The cells that an optimizer step updates.
    pub stepped: Vec<Arc<Cell>>,
}

#[derive(Default)]
struct Numbering {
    out: Gathered,
    ids: HashMap<u64, NodeId>,
    cells: HashMap<u64, NodeId>,
}

/// Walks depth first, inputs before users, roots in order: equal structures are numbered equally.
pub(super) fn gather(roots: &[Arc<Node>]) -> Result<Gathered> {
    let mut numbering = Numbering::default();
    let mut roots: Vec<Arc<Node>> = roots.to_vec();
    let mut next = 0;
    while next < roots.len() {
        let root = roots[next].clone();
        next += 1;
        numbering.walk(&root, &mut roots)?;
    }
    numbering.finish(&roots)
}

impl Numbering {
    fn walk(&mut self, root: &Arc<Node>, roots: &mut Vec<Arc<Node>>) -> Result<()> {
        // (node, its inputs, how many of them are done)
        let mut stack: Vec<(Arc<Node>, Vec<Arc<Node>>, usize)> = Vec::new();
        let mut open = vec![root.clone()];
        loop {
            if let Some(node) = open.pop() {
                if self.ids.contains_key(&node.id) {
                    continue;
                }
                if self.number_leaf(&node)? {
                    continue;
                }
                let (inputs, anchored) = {
                    let state = node.state();
                    (state.inputs.clone(), state.anchored.clone())
                };
                roots.extend(anchored.into_iter().filter(|a| !a.state().assigned));
                stack.push((node, inputs, 0));
            }
            let Some((node, inputs, done)) = stack.last_mut() else { return Ok(()) };
            if let Some(input) = inputs.get(*done) {
                *done += 1;
                open.push(input.clone());
                continue;
            }
            let (node, inputs) = (node.clone(), std::mem::take(inputs));
            stack.pop();
            self.number(node, &inputs)?;
        }
    }

    /// Numbers a node whose value is in memory or is data.
    fn number_leaf(&mut self, node: &Arc<Node>) -> Result<bool> {
        let binding = &mut self.out.bindings;
        let op = match (&node.op, &node.payload) {
            _ if node.is_realised() => {
                binding.leaves.push(Leaf::Data(node.memory()?));
                Op::Data
            }
            _ if node.cell_read().is_some() => {
                let storage = node.memory()?;
                if let Payload::Cell(cell, _) = &node.payload {
                    // Two reads of one version are one leaf.
                    if let Some(&id) = self.cells.get(&cell.id) {
                        self.ids.insert(node.id, id);
                        return Ok(true);
                    }
                    self.cells.insert(cell.id, self.out.graph.nodes.len());
                }
                binding.leaves.push(Leaf::Cell(storage));
                Op::Cell
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
        if self.ids.contains_key(&node.id) {
            return Ok(());
        }
        let lost = || Error::internal(format!("node {} ({}) has lost an input", node.id, node.op.name()));
        let ids = inputs.iter().map(|i| self.ids.get(&i.id).copied().ok_or_else(lost)).collect::<Result<Vec<_>>>()?;
        if node.op == Op::Assign {
            // Readers see the assigned value itself; the write to the cell comes last, and once.
            let value = *ids.get(1).ok_or_else(lost)?;
            self.ids.insert(node.id, value);
            if let Payload::Cell(cell, _) = &node.payload {
                self.out.overwritten.insert(cell.id);
            }
            self.out.assigned.push(node);
            return Ok(());
        }
        if let (Op::OptimStep { entries, .. }, Some(first)) = (&node.op, inputs.first())
            && let Payload::Store { cells, .. } = &first.payload
        {
            for &entry in entries {
                let cell = &cells[entry as usize];
                self.out.overwritten.insert(cell.id);
                self.out.stepped.push(cell.clone());
            }
        }
        if ids.is_empty() && !node.op.is_source() {
            return Err(lost());
        }
        let op = node.op.clone();
        self.push(&node, op, ids);
        self.out.visited.push(node);
        Ok(())
    }

    fn push(&mut self, node: &Node, op: Op, inputs: Vec<NodeId>) {
        self.ids.insert(node.id, self.out.graph.nodes.len());
        self.out.graph.nodes.push(GraphNode { op, inputs, shape: node.shape, dtype: node.dtype });
    }

    fn finish(mut self, roots: &[Arc<Node>]) -> Result<Gathered> {
        // The last assignment of each cell writes it.
        let mut last: BTreeMap<u64, Arc<Node>> = BTreeMap::new();
        self.out.assigned.sort_by_key(|n| n.id);
        for assign in &self.out.assigned {
            if let Payload::Cell(cell, _) = &assign.payload {
                last.insert(cell.id, assign.clone());
            }
        }
        for (&cell_id, assign) in &last {
            let Payload::Cell(cell, _) = &assign.payload else { continue };
            let leaf = match self.cells.get(&cell_id) {
                Some(&leaf) => leaf,
                None => {
                    self.out.bindings.leaves.push(Leaf::Cell(cell.stored().0));
                    self.out.graph.nodes.push(GraphNode { op: Op::Cell, inputs: vec![], shape: cell.shape, dtype: cell.dtype });
                    self.out.graph.nodes.len() - 1
                }
            };
            let value = self.ids[&assign.id];
            let node = GraphNode { op: Op::Assign, inputs: vec![leaf, value], shape: cell.shape, dtype: cell.dtype };
            self.out.graph.nodes.push(node);
        }
        let mut outputs: BTreeMap<NodeId, Vec<Arc<Node>>> = BTreeMap::new();
        for root in roots {
            // The last assignment's value can be read from its cell; an earlier one's would be lost.
            let readable = match (&root.op, &root.payload) {
                (Op::Assign, Payload::Cell(cell, _)) => last.get(&cell.id).is_none_or(|l| l.id == root.id),
                _ => root.op.is_effect(),
            };
            if !readable && !root.is_realised() {
                let nodes = outputs.entry(self.ids[&root.id]).or_default();
                if nodes.iter().all(|n| n.id != root.id) {
                    nodes.push(root.clone());
                }
            }
        }
        self.out.graph.outputs = outputs.keys().copied().collect();
        self.out.outputs = outputs.into_values().collect();
        Ok(self.out)
    }
}
