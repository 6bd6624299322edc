//! The check of an evaluation before it happens, where anomaly mode is on: whether its results will be finite, and if not, which
//! node is the first culprit.
//!
//! A check is a run of its own, without effects: the same graph, with the largest and the smallest element of each result in place
//! of the results. Only if one is not finite does a second run measure every value of the graph. An optimizer's step then runs on a
//! copy of its memory. What follows, if anything, is the evaluation as it would be without the mode.

use super::Session;
use super::gather::{Numbering, Purpose};
use super::keep::Wanted;
use super::measure::measure;
use super::survey::{Origin, Outcome, Survey, first_of, layer_of};
use crate::dtype::DType;
use crate::error::{Anomaly, AnomalyKind, Error, Result};
use crate::graph::{Graph, GraphNode, NodeId, Op};
use crate::lazy::anomaly::{AnomalyPolicy, Watch};
use crate::lazy::{Node, Payload, grad_enabled};
use crate::shape::Shape;
use crate::storage::Storage;
use crate::storage::bindings::{Bindings, Leaf};
use std::sync::Arc;

/// How many nodes are measured in one run.
const TOGETHER: usize = 256;

impl Session<'_> {
    /// Checks an evaluation of these roots.
    ///
    /// # Errors
    /// [`Error::NotFinite`], if the mode is to stop; whatever evaluation reports.
    pub(super) fn inspect(&mut self, watch: &Watch, roots: &[Arc<Node>]) -> Result<()> {
        let outcomes =
            roots.iter().map(|node| Outcome { node: node.clone(), cell: watch.gradient_of(node.id), may_be_infinite: true });
        let survey = self.survey(watch, outcomes.collect(), None)?;
        match self.culprit(watch, &survey, &survey.unscaled(self.device.executor())?, &[])?.0 {
            Some(anomaly) if watch.policy == AnomalyPolicy::Stop => {
                // The step that these would go with is one with the same anomaly.
                for assign in &survey.tracked {
                    assign.target().into_iter().for_each(|target| target.cell.done(assign));
                }
                Err(Error::NotFinite(Box::new(anomaly)))
            }
            _ => Ok(()),
        }
    }

    /// Checks a step, and whether it is to be taken.
    ///
    /// # Errors
    /// As [`Session::inspect`].
    pub(super) fn approves(&mut self, watch: &Watch, roots: &[Arc<Node>]) -> Result<bool> {
        let (mut outcomes, mut gates): (Vec<Outcome>, Vec<Arc<Node>>) = Default::default();
        let steps: Vec<&Arc<Node>> = roots.iter().filter(|root| matches!(root.op, Op::OptimStep { .. })).collect();
        for step in &steps {
            let inputs = step.inputs();
            let (Some(Payload::Store { cells, .. }), Op::OptimStep { gated, entries, .. }) =
                (inputs.first().map(|store| &store.payload), &step.op)
            else {
                continue;
            };
            cells.iter().for_each(|cell| watch.knows(cell));
            gates.extend(inputs.get(1).filter(|_| *gated).cloned());
            for (gradient, &entry) in inputs.iter().skip(1 + usize::from(*gated)).zip(entries) {
                let cell = cells.get(entry as usize).map(|cell| cell.id);
                outcomes.push(Outcome { node: gradient.clone(), cell, may_be_infinite: false });
            }
        }
        let losses = watch.take_losses().into_iter().filter(|loss| loss.device == *self.device);
        outcomes.extend(losses.map(|node| Outcome { node, cell: None, may_be_infinite: false }));
        let survey = self.survey(watch, outcomes, Some(gates))?;
        let taken = match self.step_anomaly(watch, &survey, &steps) {
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

    /// The anomaly in a step, if there is one; the mode is told about it.
    fn step_anomaly(&self, watch: &Watch, survey: &Survey, steps: &[&Arc<Node>]) -> Result<Option<Anomaly>> {
        let lost = || Error::internal("a step's operand has no number");
        let number = |node: &Arc<Node>| survey.numbers.get(&node.id).copied().ok_or_else(lost);
        let mut operands = Vec::new();
        for step in steps {
            for operand in step.inputs().iter().skip(1) {
                operands.push(number(operand)?);
            }
        }
        let (found, mut values) = self.culprit(watch, survey, &survey.unscaled(self.device.executor())?, &operands)?;
        if found.is_some() {
            return Ok(found);
        }
        if !survey.scales.is_empty() {
            values = measure(self.device.executor(), &survey.graph, &survey.bindings, &[], &operands)?.1;
        }
        let mut values = values.into_iter();
        for step in steps {
            let operands = step.inputs().len() - 1;
            let found = self.update(watch, step, values.by_ref().take(operands).collect())?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Numbers what these outcomes are made of; for a step, its gates, too.
    fn survey(&mut self, watch: &Watch, outcomes: Vec<Outcome>, step: Option<Vec<Arc<Node>>>) -> Result<Survey> {
        let mut numbering = Numbering::new(*self.last, Purpose { step: step.is_some(), gate: None }, false);
        let (is_step, gates) = (step.is_some(), step.unwrap_or_default());
        let mut add = || {
            for outcome in &outcomes {
                let added = numbering.add([outcome.node.clone()]);
                // A loss whose parameters have moved on since cannot be had any more, and the step does not need it.
                if !is_step || outcome.cell.is_some() {
                    added?;
                }
            }
            numbering.add(gates.iter().cloned())?;
            if is_step {
                Wanted::endangered(&mut numbering, self.device, false)?;
            } else if grad_enabled() {
                // The evaluation computes these along the way.
                Wanted::tracked(&mut numbering, self.device)?;
                let own = self.device.pending().into_iter().filter(|assign| {
                    let source = assign.inputs().first().is_some_and(|source| numbering.number_of(source).is_some());
                    source && assign.target().is_some_and(|target| target.tracks)
                });
                let own: Vec<Arc<Node>> = own.collect();
                numbering.out.tracked.extend(own);
            }
            Ok(())
        };
        let added = add();
        *self.last = numbering.last();
        added.map(|()| Survey::new(watch, numbering, outcomes, &gates))
    }

    /// The anomaly in what an evaluation results in, if there is one; the mode is told about it. Also the memory of the nodes
    /// `kept`.
    fn culprit(
        &self,
        watch: &Watch,
        survey: &Survey,
        bindings: &Bindings,
        kept: &[NodeId],
    ) -> Result<(Option<Anomaly>, Vec<Storage>)> {
        let executor = self.device.executor();
        let wanted: Vec<NodeId> = survey.outcomes.iter().map(|(id, _)| *id).collect();
        let (results, values) = measure(executor, &survey.graph, bindings, &wanted, kept)?;
        let spoiled = |id: &NodeId| results.get(id).is_some_and(|m| !m.is_finite());
        if !wanted.iter().any(spoiled) {
            return Ok((None, values));
        }
        let mut all = survey.scalars();
        let measured: Vec<NodeId> = (0..survey.graph.nodes.len()).filter(|&id| !survey.graph.nodes[id].op.is_source()).collect();
        let leaves = (0..survey.graph.nodes.len()).filter(|&id| matches!(survey.graph.nodes[id].op, Op::Data | Op::Cell));
        for some in measured.into_iter().chain(leaves).collect::<Vec<_>>().chunks(TOGETHER) {
            all.extend(measure(executor, &survey.graph, bindings, some, &[])?.0);
        }
        // Where the two runs differ by rounding, the first one counts.
        all.extend(results.iter().map(|(&id, &m)| (id, m)));
        let origins = survey.origins(watch, &all);
        let spoiled: Vec<&(NodeId, Outcome)> = survey.outcomes.iter().filter(|(id, _)| spoiled(id)).collect();
        // An infinity of the program's own that a result is made of is an anomaly if the result must be finite.
        let origin = |(id, outcome): &(NodeId, Outcome)| match origins[*id] {
            Origin::Program if !outcome.may_be_infinite => Some(*id),
            origin => origin.culprit(),
        };
        let Some(culprit) = spoiled.iter().filter_map(|of| origin(of)).min_by_key(|&id| survey.age(id)) else {
            return Ok((None, values));
        };
        let tainted: Vec<Arc<Node>> = (0..origins.len())
            .filter(|&id| origins[id].culprit() == Some(culprit))
            .filter_map(|id| survey.nodes[id].clone())
            .collect();
        if let Some(known) = survey.nodes[culprit].as_ref().and_then(|node| watch.spoiled(node.id)) {
            // Another evaluation has reported it.
            return Ok((Some(known), values));
        }
        let reached = spoiled.iter().filter(|of| origin(of) == Some(culprit)).find_map(|(_, outcome)| outcome.cell);
        let anomaly = survey.describe(watch, executor, bindings, culprit, &all, reached)?;
        watch.report(&anomaly, &tainted);
        Ok((Some(anomaly), values))
    }

    /// Takes a step on copies, with these operands, and looks at what it makes of parameters and state.
    fn update(&self, watch: &Watch, step: &Arc<Node>, operands: Vec<Storage>) -> Result<Option<Anomaly>> {
        let executor = self.device.executor();
        let inputs = step.inputs();
        let (Some(Payload::Store { store, cells }), Op::OptimStep { rule, entries, .. }) =
            (inputs.first().map(|source| &source.payload), &step.op)
        else {
            return Err(Error::internal("a step has no memory"));
        };
        let sizes: Vec<(DType, usize)> = cells.iter().map(|cell| (cell.dtype, cell.shape.numel())).collect();
        let copy = Arc::new(executor.copy_store(store, &sizes)?);
        let source = |op: Op, shape, dtype| GraphNode { op, inputs: Vec::new(), shape, dtype };
        let mut graph = Graph { nodes: vec![source(Op::OptimStore, Shape::SCALAR, DType::F32)], ..Graph::default() };
        let mut bindings = Bindings { leaves: vec![Leaf::Store(copy.clone())], ..Bindings::default() };
        for (input, memory) in inputs.iter().skip(1).zip(operands) {
            graph.nodes.push(source(Op::Data, input.shape, input.dtype));
            bindings.leaves.push(Leaf::Data(memory));
        }
        let all = (0..graph.nodes.len()).collect();
        graph.nodes.push(GraphNode { op: step.op.clone(), inputs: all, shape: step.shape, dtype: step.dtype });
        executor.run(&executor.plan(&graph)?, &bindings)?;
        drop((graph, bindings));
        // Each parameter before its state.
        let mut places = Vec::new();
        for &entry in entries {
            let entry = entry as usize;
            let (Some(cell), Some(own)) = (cells.get(entry), copy.entries.get(entry)) else { continue };
            places.push((cell, None, own.parameter.clone()));
            for (s, state) in rule.facts().states.iter().enumerate() {
                places.extend(copy.state_of(entry, s).map(|memory| (cell, Some(state.name), memory)));
            }
        }
        let nodes = places.iter().map(|(cell, ..)| source(Op::Data, cell.shape, cell.dtype)).collect();
        let leaves = places.iter().map(|(.., memory)| Leaf::Data(memory.clone())).collect();
        let (graph, bindings) = (Graph { nodes, ..Graph::default() }, Bindings { leaves, ..Bindings::default() });
        let ids: Vec<NodeId> = (0..places.len()).collect();
        let (measured, _) = measure(executor, &graph, &bindings, &ids, &[])?;
        let spoiled = ids.iter().find(|id| measured.get(id).is_some_and(|m| !m.is_finite()));
        let Some((cell, state, memory)) = spoiled.and_then(|&id| places.get(id)) else { return Ok(None) };
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
            at: watch.call_of(step.id).and_then(|call| call.at),
            times: 1,
        };
        watch.report(&anomaly, &[]);
        Ok(Some(anomaly))
    }
}
