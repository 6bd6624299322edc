//! The check of an evaluation before it happens, where anomaly mode is on: whether its results will be finite, and if not, which
//! node is the first culprit.
//!
//! A check is a run of its own, without effects: the same graph, with the largest and the smallest element of each result in place
//! of the results. Only if one is not finite does a second run measure every value of the graph. An optimizer's step then runs on a
//! copy of its memory. What follows, if anything, is the evaluation as it would be without the mode.

use super::Session;
use super::gather::{Numbering, Purpose};
use super::keep::Wanted;
use super::measure::{Measured, measure, values_of};
use crate::dtype::{DType, HostData};
use crate::error::{Anomaly, AnomalyKind, Error, Result};
use crate::graph::layer::Layer;
use crate::graph::{Graph, GraphNode, NodeId, Op};
use crate::lazy::anomaly::{Call, Watch};
use crate::lazy::{AnomalyPolicy, Cell, Node, Payload};
use crate::shape::Shape;
use crate::storage::bindings::{Bindings, Leaf};
use rustc_hash::FxHashSet;
use std::sync::Arc;

/// How many nodes are measured in one run.
const TOGETHER: usize = 256;

/// What an evaluation results in.
struct Outcome {
    node: Arc<Node>,
    /// The cell whose gradient or new value it is.
    cell: Option<u64>,
    /// Whether it may be infinite because of a number in the program.
    may_be_infinite: bool,
}

/// An evaluation's graph, and what its nodes stand for.
struct Survey {
    graph: Graph,
    bindings: Bindings,
    /// Per node of the graph, the oldest node that it stands for.
    nodes: Vec<Option<Arc<Node>>>,
    /// What it results in, by number.
    outcomes: Vec<(NodeId, Outcome)>,
    /// Assignments that would run with the step.
    tracked: Vec<Arc<Node>>,
    /// The leaf that is the scale of a loss.
    scales: Vec<usize>,
}

impl Session<'_> {
    /// Checks an evaluation of these roots.
    ///
    /// # Errors
    /// [`Error::NotFinite`], if the mode is to stop; whatever evaluation reports.
    pub(super) fn inspect(&mut self, watch: &Watch, roots: &[Arc<Node>]) -> Result<()> {
        let outcomes =
            roots.iter().map(|node| Outcome { node: node.clone(), cell: watch.gradient_of(node.id), may_be_infinite: true });
        let survey = self.survey(watch, outcomes.collect(), false)?;
        match self.culprit(watch, &survey, &survey.bindings)? {
            Some(anomaly) if watch.policy == AnomalyPolicy::Stop => Err(Error::NotFinite(Box::new(anomaly))),
            _ => Ok(()),
        }
    }

    /// Checks a step, and whether it is to be taken.
    ///
    /// # Errors
    /// As [`Session::inspect`].
    pub(super) fn approves(&mut self, watch: &Watch, roots: &[Arc<Node>]) -> Result<bool> {
        let mut outcomes: Vec<Outcome> = Vec::new();
        let steps: Vec<&Arc<Node>> = roots.iter().filter(|root| matches!(root.op, Op::OptimStep { .. })).collect();
        for step in &steps {
            let inputs = step.inputs();
            let (Some(Payload::Store { cells, .. }), Op::OptimStep { gated, entries, .. }) =
                (inputs.first().map(|store| &store.payload), &step.op)
            else {
                continue;
            };
            cells.iter().for_each(|cell| watch.knows(cell));
            for (gradient, &entry) in inputs.iter().skip(1 + usize::from(*gated)).zip(entries) {
                let cell = cells.get(entry as usize).map(|cell| cell.id);
                outcomes.push(Outcome { node: gradient.clone(), cell, may_be_infinite: false });
            }
        }
        let losses = watch.take_losses().into_iter().filter(|loss| loss.device == *self.device);
        outcomes.extend(losses.map(|node| Outcome { node, cell: None, may_be_infinite: false }));
        let survey = self.survey(watch, outcomes, true)?;
        let outcome = match self.culprit(watch, &survey, &survey.unscaled(self)?) {
            Ok(None) => self.updates(watch, &survey, &steps),
            found => found,
        };
        let taken = match outcome {
            Ok(None) => return Ok(true),
            Ok(Some(anomaly)) => match watch.policy {
                AnomalyPolicy::Ignore => return Ok(true),
                AnomalyPolicy::Skip => {
                    watch.skip();
                    Ok(false)
                }
                AnomalyPolicy::Stop => Err(Error::NotFinite(Box::new(anomaly))),
            },
            Err(error) => Err(error),
        };
        // As after a step that fails, what its forward pass tracks stays as it was.
        for assign in &survey.tracked {
            assign.target().into_iter().for_each(|target| target.cell.done(assign));
        }
        taken
    }

    /// Numbers what these outcomes are made of.
    fn survey(&mut self, watch: &Watch, outcomes: Vec<Outcome>, step: bool) -> Result<Survey> {
        let mut numbering = Numbering::new(*self.last, Purpose { step, gate: None }, false);
        let survey = Survey::new(watch, &mut numbering, self.device, outcomes, step);
        *self.last = numbering.last();
        survey
    }

    /// The anomaly in what an evaluation results in, if there is one; the mode is told about it.
    fn culprit(&self, watch: &Watch, survey: &Survey, bindings: &Bindings) -> Result<Option<Anomaly>> {
        let executor = self.device.executor();
        let wanted: Vec<NodeId> = survey.outcomes.iter().map(|(id, _)| *id).collect();
        let (results, _) = measure(executor, &survey.graph, bindings, &wanted, &[])?;
        let spoiled = |id: &NodeId| results.get(id).is_some_and(|m| !m.is_finite());
        if !wanted.iter().any(spoiled) {
            return Ok(None);
        }
        let mut all = survey.scalars();
        let measured: Vec<NodeId> = (0..survey.graph.nodes.len()).filter(|&id| !survey.graph.nodes[id].op.is_source()).collect();
        let leaves = (0..survey.graph.nodes.len()).filter(|&id| matches!(survey.graph.nodes[id].op, Op::Data | Op::Cell));
        for some in measured.into_iter().chain(leaves).collect::<Vec<_>>().chunks(TOGETHER) {
            all.extend(measure(executor, &survey.graph, bindings, some, &[])?.0);
        }
        // Where the two runs differ by rounding, the first one counts.
        all.extend(results.iter().map(|(&id, &m)| (id, m)));
        let origins = survey.origins(&all);
        let age = |id: NodeId| survey.nodes[id].as_ref().map_or(u64::MAX, |node| node.id);
        let spoiled: Vec<&(NodeId, Outcome)> = survey.outcomes.iter().filter(|(id, _)| spoiled(id)).collect();
        // An infinity of the program's own that a result is made of is an anomaly if the result must be finite.
        let origin = |(id, outcome): &(NodeId, Outcome)| origins[*id].or((!outcome.may_be_infinite).then_some(*id));
        let Some(culprit) = spoiled.iter().filter_map(|of| origin(of)).min_by_key(|&id| age(id)) else { return Ok(None) };
        let tainted: Vec<Arc<Node>> =
            (0..origins.len()).filter(|&id| origins[id] == Some(culprit)).filter_map(|id| survey.nodes[id].clone()).collect();
        if survey.graph.nodes[culprit].op == Op::Data
            && let Some(known) = survey.nodes[culprit].as_ref().and_then(|node| watch.spoiled(node.id))
        {
            // Computed by an evaluation that has reported it.
            return Ok(Some(known));
        }
        let reached = spoiled.iter().filter(|of| origin(of) == Some(culprit)).find_map(|(_, outcome)| outcome.cell);
        let anomaly = survey.describe(watch, self, bindings, culprit, &all, reached)?;
        watch.report(&anomaly, &tainted);
        Ok(Some(anomaly))
    }

    /// Takes a step on copies, and looks at what it makes of parameters and state.
    fn updates(&self, watch: &Watch, survey: &Survey, steps: &[&Arc<Node>]) -> Result<Option<Anomaly>> {
        let executor = self.device.executor();
        for step in steps {
            let inputs = step.inputs();
            let (Some(Payload::Store { store, cells }), Op::OptimStep { rule, entries, .. }) =
                (inputs.first().map(|source| &source.payload), &step.op)
            else {
                continue;
            };
            let copy =
                Arc::new(executor.copy_store(store, &cells.iter().map(|c| (c.dtype, c.shape.numel())).collect::<Vec<_>>())?);
            let operands: Vec<NodeId> = inputs.iter().skip(1).filter_map(|i| survey.number_of(i)).collect();
            if operands.len() + 1 != inputs.len() {
                return Err(Error::internal("a step's operand has no number"));
            }
            let (_, values) = measure(executor, &survey.graph, &survey.bindings, &[], &operands)?;
            let source = |op: Op, shape, dtype| GraphNode { op, inputs: Vec::new(), shape, dtype };
            let mut graph = Graph { nodes: vec![source(Op::OptimStore, Shape::SCALAR, DType::F32)], ..Graph::default() };
            let mut bindings = Bindings { leaves: vec![Leaf::Store(copy.clone())], ..Bindings::default() };
            for (operand, value) in inputs.iter().skip(1).zip(values) {
                graph.nodes.push(source(Op::Data, operand.shape, operand.dtype));
                bindings.leaves.push(Leaf::Data(value));
            }
            let all = (0..graph.nodes.len()).collect();
            graph.nodes.push(GraphNode { op: step.op.clone(), inputs: all, shape: step.shape, dtype: step.dtype });
            executor.run(&executor.plan(&graph)?, &bindings)?;
            drop((graph, bindings));
            // Parameters first, each with its state.
            let mut places = Vec::new();
            for &entry in entries {
                let (Some(cell), Some(own)) = (cells.get(entry as usize), copy.entries.get(entry as usize)) else { continue };
                places.push((cell, None, own.parameter.clone()));
                for (s, state) in rule.facts().states.iter().enumerate() {
                    places.extend(copy.state_of(entry as usize, s).map(|memory| (cell, Some(state.name), memory)));
                }
            }
            let graph =
                Graph { nodes: places.iter().map(|(c, ..)| source(Op::Data, c.shape, c.dtype)).collect(), ..Graph::default() };
            let leaves = places.iter().map(|(.., memory)| Leaf::Data(memory.clone())).collect();
            let ids: Vec<NodeId> = (0..places.len()).collect();
            let (measured, _) = measure(executor, &graph, &Bindings { leaves, ..Bindings::default() }, &ids, &[])?;
            let Some(first) = ids.iter().find(|id| measured.get(id).is_some_and(|m| !m.is_finite())) else { continue };
            let (cell, state, memory) = &places[*first];
            let call = watch.call_of(step.id);
            let name = cell.name();
            let (position, value) = first_of(&executor.read(memory, cell.dtype, cell.shape.numel())?);
            let anomaly = Anomaly {
                kind: AnomalyKind::Update,
                op: rule.facts().name.to_owned(),
                part: state.map(str::to_owned),
                layer: layer_of(&name),
                parameter: Some(name),
                shape: cell.shape,
                position,
                value,
                operands: Vec::new(),
                elementwise: false,
                at: call.and_then(|call| call.at),
                times: 1,
            };
            watch.report(&anomaly, &[]);
            return Ok(Some(anomaly));
        }
        Ok(None)
    }
}

impl Survey {
    fn new(
        watch: &Watch,
        numbering: &mut Numbering,
        device: &crate::lazy::Device,
        outcomes: Vec<Outcome>,
        step: bool,
    ) -> Result<Self> {
        numbering.add(outcomes.iter().map(|outcome| outcome.node.clone()))?;
        if step {
            Wanted::endangered(numbering, device, false)?;
        }
        let assigned = numbering.out.assigned.iter().filter_map(|assign| {
            let cell = &assign.target()?.cell;
            watch.knows(cell);
            Some(Outcome { node: assign.clone(), cell: Some(cell.id), may_be_infinite: true })
        });
        // A backward pass whose gradients are read is evaluated as a whole.
        let known: FxHashSet<u64> = outcomes.iter().map(|outcome| outcome.node.id).collect();
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
        let mut stack: Vec<Arc<Node>> = all.iter().map(|(_, outcome)| outcome.node.clone()).collect();
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
        let (bindings, tracked) = (std::mem::take(&mut numbering.out.bindings), std::mem::take(&mut numbering.out.tracked));
        Ok(Self { graph, bindings, nodes, outcomes: all, tracked, scales })
    }

    /// What the leaves are bound to if losses are not scaled.
    fn unscaled(&self, session: &Session<'_>) -> Result<Bindings> {
        let mut bindings = self.bindings.clone();
        for &scale in &self.scales {
            if let Some(leaf) = bindings.leaves.get_mut(scale) {
                *leaf = Leaf::Cell(session.device.executor().upload(HostData::F32(vec![1.0]))?);
            }
        }
        Ok(bindings)
    }

    fn number_of(&self, node: &Arc<Node>) -> Option<NodeId> {
        let is = |other: &Option<Arc<Node>>| other.as_ref().is_some_and(|other| other.id == node.id);
        self.nodes.iter().position(is).or_else(|| self.outcomes.iter().find(|(_, o)| o.node.id == node.id).map(|(id, _)| *id))
    }

    /// The numbers in the program, measured.
    fn scalars(&self) -> Measured {
        let ids = (0..self.graph.nodes.len()).filter(|&id| self.graph.nodes[id].op == Op::Scalar);
        ids.zip(&self.bindings.scalars).map(|(id, &value)| (id, (value, value).into())).collect()
    }

    /// Per node that is not finite, the oldest culprit that it is made of; `None` if it passes on an infinity of the program's.
    fn origins(&self, measured: &Measured) -> Vec<Option<NodeId>> {
        let mut origins: Vec<Option<NodeId>> = vec![None; self.graph.nodes.len()];
        let age = |id: NodeId| self.nodes[id].as_ref().map_or(u64::MAX, |node| node.id);
        for (id, node) in self.graph.nodes.iter().enumerate() {
            let Some(extremes) = measured.get(&id).filter(|m| !m.is_finite()) else { continue };
            let inputs = if node.op == Op::Recomputed { &node.inputs[..1] } else { &node.inputs[..] };
            let spoiled = || inputs.iter().filter(|i| measured.get(i).is_some_and(|m| !m.is_finite()));
            let earlier = spoiled().filter_map(|&i| origins[i]).min_by_key(|&i| age(i));
            origins[id] = match node.op {
                Op::Data | Op::Cell => Some(id),
                Op::Scalar => None,
                _ => earlier.or((extremes.is_nan() || spoiled().next().is_none()).then_some(id)),
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
    fn describe(
        &self,
        watch: &Watch,
        session: &Session<'_>,
        bindings: &Bindings,
        culprit: NodeId,
        measured: &Measured,
        reached: Option<u64>,
    ) -> Result<Anomaly> {
        let executor = session.device.executor();
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

/// The layer of a parameter of this name.
fn layer_of(parameter: &str) -> Option<String> {
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

/// The first element that is not finite, and its position.
fn first_of(data: &HostData) -> (usize, f64) {
    data.to_f64().into_iter().enumerate().find(|(_, v)| !v.is_finite()).unwrap_or((0, f64::NAN))
}
