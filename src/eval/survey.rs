//! A graph that is to be checked: its nodes with the calls that made them, and who is to blame for a value that is not finite.

use super::gather::Numbering;
use super::measure::{Measured, values_of};
use crate::dtype::HostData;
use crate::error::{Anomaly, AnomalyKind, Result};
use crate::executor::Executor;
use crate::graph::layer::Layer;
use crate::graph::{Graph, NodeId, Op};
use crate::lazy::anomaly::{Call, Watch};
use crate::lazy::{Cell, Node};
use crate::storage::bindings::{Bindings, Leaf};
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::Arc;

/// What an evaluation results in.
pub(super) struct Outcome {
    pub node: Arc<Node>,
    /// The cell whose gradient or new value it is.
    pub cell: Option<u64>,
    /// Whether it may be infinite because of a number in the program.
    pub may_be_infinite: bool,
}

/// Where a value that is not finite comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// This node.
    Culprit(NodeId),
    /// An infinite number in the program, which is passed on.
    Program,
    /// The scale of a loss.
    Scale,
}

impl Origin {
    pub const fn culprit(self) -> Option<NodeId> {
        match self {
            Self::Culprit(id) => Some(id),
            Self::Program | Self::Scale => None,
        }
    }
}

/// An evaluation's graph, and what its nodes stand for.
pub(super) struct Survey {
    pub graph: Graph,
    pub bindings: Bindings,
    /// Per node of the graph, the oldest node that it stands for.
    pub nodes: Vec<Option<Arc<Node>>>,
    /// The numbers of what was asked for.
    pub numbers: FxHashMap<u64, NodeId>,
    /// What it results in, by number.
    pub outcomes: Vec<(NodeId, Outcome)>,
    /// Assignments that would run with the step.
    pub tracked: Vec<Arc<Node>>,
    /// The leaf that is the scale of a loss.
    pub scales: Vec<usize>,
    /// Per node of the graph, when the program came to it: for a leaf, when it is first read.
    ages: Vec<u64>,
}

impl Survey {
    /// Of a numbered graph with these results.
    pub fn new(watch: &Watch, mut numbering: Numbering, outcomes: Vec<Outcome>, gates: &[Arc<Node>]) -> Self {
        let assigned = numbering.out.assigned.iter().filter_map(|assign| {
            let cell = &assign.target()?.cell;
            watch.knows(cell);
            Some(Outcome { node: assign.clone(), cell: Some(cell.id), may_be_infinite: true })
        });
        // A backward pass whose gradients are read is evaluated as a whole.
        let asked = outcomes.iter().map(|outcome| &outcome.node).chain(gates);
        let known: FxHashSet<u64> = asked.clone().map(|node| node.id).collect();
        let numbers = asked.filter_map(|node| Some((node.id, numbering.number_of(node)?))).collect();
        let siblings = numbering.values().filter(|node| !known.contains(&node.id)).map(|node| Outcome {
            node: node.clone(),
            cell: watch.gradient_of(node.id),
            may_be_infinite: true,
        });
        let more: Vec<Outcome> = assigned.chain(siblings).collect();
        let all: Vec<(NodeId, Outcome)> =
            outcomes.into_iter().chain(more).filter_map(|outcome| Some((numbering.number_of(&outcome.node)?, outcome))).collect();
        let mut nodes: Vec<Option<Arc<Node>>> = vec![None; numbering.out.graph.nodes.len()];
        let mut seen: FxHashSet<u64> = FxHashSet::default();
        let mut stack: Vec<Arc<Node>> = all.iter().map(|(_, outcome)| &outcome.node).chain(gates).cloned().collect();
        while let Some(node) = stack.pop() {
            let Some(id) = numbering.number_of(&node).filter(|_| seen.insert(node.id)) else { continue };
            if let Some((cell, _)) = node.cell_read() {
                watch.knows(cell);
            }
            // The same number as an assignment has what it assigns.
            let stands = node.target().is_none() || node.cell_read().is_some();
            if stands && nodes[id].as_ref().is_none_or(|other| other.id > node.id) {
                nodes[id] = Some(node.clone());
            }
            stack.extend(node.inputs().iter().cloned());
        }
        let graph = std::mem::take(&mut numbering.out.graph);
        let leaves = graph.nodes.iter().enumerate().filter(|(_, node)| matches!(node.op, Op::Data | Op::Cell | Op::OptimStore));
        let is_scale =
            |id: NodeId| nodes[id].as_ref().and_then(|n| n.cell_read()).is_some_and(|(cell, _)| watch.is_scale(cell.id));
        let scales = leaves.enumerate().filter(|(_, (id, _))| is_scale(*id)).map(|(leaf, _)| leaf).collect();
        let ages = ages(&graph, &nodes);
        let (bindings, tracked) = (std::mem::take(&mut numbering.out.bindings), std::mem::take(&mut numbering.out.tracked));
        Self { graph, bindings, nodes, numbers, outcomes: all, tracked, scales, ages }
    }

    /// What the leaves are bound to if losses are not scaled.
    pub fn unscaled(&self, executor: &Executor) -> Result<Bindings> {
        let mut bindings = self.bindings.clone();
        for &scale in &self.scales {
            if let Some(leaf) = bindings.leaves.get_mut(scale) {
                *leaf = Leaf::Cell(executor.upload(HostData::F32(vec![1.0]))?);
            }
        }
        Ok(bindings)
    }

    /// When the program came to a node: nodes that are made later have larger numbers.
    pub fn age(&self, id: NodeId) -> u64 {
        self.ages[id]
    }

    /// The numbers in the program, measured.
    pub fn scalars(&self) -> Measured {
        let ids = (0..self.graph.nodes.len()).filter(|&id| self.graph.nodes[id].op == Op::Scalar);
        ids.zip(&self.bindings.scalars).map(|(id, &value)| (id, (value, value).into())).collect()
    }

    /// Whether a value was computed in the mode, and is not finite because of a loss's scale: its evaluation was checked as if
    /// that was 1.
    fn is_excused(&self, watch: &Watch, id: NodeId) -> bool {
        let is_result = |node: &Arc<Node>| !node.op.is_source() && watch.call_of(node.id).is_some();
        self.graph.nodes[id].op == Op::Data
            && watch.has_scales()
            && self.nodes[id].as_ref().is_some_and(|node| is_result(node) && watch.spoiled(node.id).is_none())
    }

    /// Per node that is not finite, the oldest culprit that it is made of, or what else it comes from.
    pub fn origins(&self, watch: &Watch, measured: &Measured) -> Vec<Origin> {
        let mut origins: Vec<Origin> = vec![Origin::Program; self.graph.nodes.len()];
        for (id, node) in self.graph.nodes.iter().enumerate() {
            let Some(extremes) = measured.get(&id).filter(|m| !m.is_finite()) else { continue };
            let inputs = if node.op == Op::Recomputed { &node.inputs[..1] } else { &node.inputs[..] };
            let spoiled = || inputs.iter().filter(|i| measured.get(i).is_some_and(|m| !m.is_finite()));
            let earlier = spoiled().filter_map(|&i| origins[i].culprit()).min_by_key(|&i| self.age(i));
            origins[id] = match node.op {
                Op::Data if self.is_excused(watch, id) => Origin::Scale,
                Op::Data | Op::Cell => Origin::Culprit(id),
                Op::Scalar => Origin::Program,
                _ if earlier.is_some() => earlier.map_or(Origin::Program, Origin::Culprit),
                _ if spoiled().any(|&i| origins[i] == Origin::Scale) => Origin::Scale,
                _ if extremes.is_nan() || spoiled().next().is_none() => Origin::Culprit(id),
                _ => Origin::Program,
            };
        }
        origins
    }

    /// The first op, in the order of the program, that reads a value; through views.
    fn reader(&self, watch: &Watch, of: NodeId) -> Option<(Arc<Node>, Call)> {
        let mut seen = vec![false; self.graph.nodes.len()];
        seen[of] = true;
        let mut readers = Vec::new();
        for (id, node) in self.graph.nodes.iter().enumerate() {
            if node.inputs.iter().any(|&i| seen[i]) {
                if node.op.is_movement() {
                    seen[id] = true;
                }
                readers.push((node.op.is_movement(), id));
            }
        }
        let own = |id: NodeId| self.nodes[id].clone();
        let mut found: Vec<(bool, Arc<Node>)> = readers.into_iter().filter_map(|(moves, id)| Some((moves, own(id)?))).collect();
        found.sort_by_key(|(moves, node)| (*moves, node.id));
        found.into_iter().find_map(|(_, node)| watch.call_of(node.id).map(|call| (node, call)))
    }

    /// Names a culprit.
    pub fn describe(
        &self,
        watch: &Watch,
        executor: &Executor,
        bindings: &Bindings,
        culprit: NodeId,
        measured: &Measured,
        reached: Option<u64>,
    ) -> Result<Anomaly> {
        let found = &self.graph.nodes[culprit];
        let node = self.nodes[culprit].clone();
        let made_by = node.as_ref().and_then(|node| watch.call_of(node.id));
        let is_source = found.op == Op::Cell || node.as_ref().is_none_or(|node| node.op.is_source());
        // What an evaluation outside of the mode has computed is an input, too.
        let is_leaf = is_source || (found.op == Op::Data && made_by.is_none());
        let (shown, call) = match self.reader(watch, culprit) {
            Some((reader, call)) if is_leaf => (Some(reader), Some(call)),
            _ => (node.clone(), made_by),
        };
        let is_backward = made_by.map_or_else(|| node.as_ref().is_some_and(|n| n.layer.is_backward()), |call| call.backward);
        let kind = match found.op {
            Op::Cell => AnomalyKind::Parameter,
            Op::Data if is_leaf => AnomalyKind::Input,
            _ if is_backward => AnomalyKind::Gradient,
            _ => AnomalyKind::Value,
        };
        // The elements of operands of the same shape, and the first that is not finite.
        let elementwise = found.op.is_elementwise() && !is_leaf;
        let is_float = |id: &NodeId| self.graph.nodes[*id].dtype.is_float();
        let operands: Vec<NodeId> = found.inputs.iter().copied().filter(is_float).collect();
        let beside: Vec<NodeId> = operands.iter().copied().filter(|_| elementwise).collect();
        let read: Vec<NodeId> = std::iter::once(culprit).chain(beside).collect();
        let values = values_of(executor, &self.graph, bindings, &read)?;
        let (position, value) = values.first().map_or((0, f64::NAN), first_of);
        let element = |data: &HostData| data.to_f64().get(position).copied();
        let operands = if elementwise {
            values.iter().skip(1).filter_map(element).collect()
        } else {
            operands.iter().filter_map(|id| measured.get(id)).map(|m| m.magnitude()).collect()
        };
        let cell = node.as_ref().and_then(|n| n.cell_read()).map(|(cell, _): (&Arc<Cell>, u64)| cell.name());
        let cell_of = |layer: Layer| layer.cell().and_then(|cell| watch.name_of(cell));
        let layer = call.and_then(|call| cell_of(call.layer)).or_else(|| shown.as_ref().and_then(|node| cell_of(node.layer)));
        let part = node.as_ref().filter(|_| kind == AnomalyKind::Value).map(|node| part_of(&node.op));
        let op =
            call.and_then(|call| call.op).map_or_else(|| shown.map_or_else(|| "eval".into(), |n| part_of(&n.op)), str::to_owned);
        Ok(Anomaly {
            kind,
            part: part.filter(|part| *part != op),
            op,
            layer: cell.as_deref().and_then(layer_of).or_else(|| layer.as_deref().and_then(layer_of)),
            parameter: cell.or_else(|| reached.and_then(|cell| watch.name_of(cell))),
            shape: found.shape,
            position,
            value,
            operands: if is_leaf { Vec::new() } else { operands },
            elementwise,
            at: call.and_then(|call| call.at),
            times: 1,
        })
    }
}

/// Per node, its age, which for a leaf is that of the first op that reads it, through views.
fn ages(graph: &Graph, nodes: &[Option<Arc<Node>>]) -> Vec<u64> {
    let own = |id: NodeId| nodes[id].as_ref().map_or(u64::MAX, |node| node.id);
    let mut read = vec![u64::MAX; graph.nodes.len()];
    for (id, node) in graph.nodes.iter().enumerate().rev() {
        let age = if node.op.is_movement() { read[id].max(own(id)) } else { own(id) };
        node.inputs.iter().for_each(|&i| read[i] = read[i].min(age));
    }
    let age = |(id, node): (NodeId, &crate::graph::GraphNode)| match node.op {
        Op::Data | Op::Cell if read[id] < u64::MAX => read[id],
        _ => own(id),
    };
    graph.nodes.iter().enumerate().map(age).collect()
}

/// The layer of a parameter of this name.
pub(super) fn layer_of(parameter: &str) -> Option<String> {
    parameter.rsplit_once('.').map(|(layer, _)| layer.to_owned())
}

/// The name of a node's own op.
fn part_of(op: &Op) -> String {
    match op {
        Op::Unary(op) => format!("{op:?}").to_lowercase(),
        Op::Binary(op) => format!("{op:?}").to_lowercase(),
        Op::Reduce { op, .. } => format!("{op:?}").to_lowercase(),
        _ => op.name().to_owned(),
    }
}

/// The first NaN, or if there is none the first infinity, and its position.
pub(super) fn first_of(data: &HostData) -> (usize, f64) {
    let values = data.to_f64();
    let find = |is: fn(&f64) -> bool| values.iter().copied().enumerate().find(|(_, v)| is(v));
    find(|v| v.is_nan()).or_else(|| find(|v| v.is_infinite())).unwrap_or((0, f64::NAN))
}
