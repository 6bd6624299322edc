//! Parts of a graph on their own: the extremes of some of its nodes, or their values, without effects.

use crate::dtype::{DType, HostData};
use crate::error::{Error, Result};
use crate::executor::{Executor, Transfer};
use crate::graph::op::{ReduceOp, without};
use crate::graph::{Graph, GraphNode, NodeId, Op};
use crate::shape::Shape;
use crate::storage::Storage;
use crate::storage::bindings::{Bindings, Leaf};
use rustc_hash::FxHashMap;

/// The extremes of nodes, by number. Nodes without elements, or of another dtype than a floating-point one, have none.
pub(super) type Measured = FxHashMap<NodeId, Extremes>;

/// The largest and the smallest element; NaN if any is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extremes {
    max: f64,
    min: f64,
}

impl From<(f64, f64)> for Extremes {
    fn from((max, min): (f64, f64)) -> Self {
        Self { max, min }
    }
}

impl Extremes {
    pub fn is_finite(self) -> bool {
        self.max.is_finite() && self.min.is_finite()
    }

    pub fn is_nan(self) -> bool {
        self.max.is_nan() || self.min.is_nan()
    }

    /// The largest absolute value; NaN if any element is.
    pub fn magnitude(self) -> f64 {
        if self.is_nan() { f64::NAN } else { self.max.abs().max(self.min.abs()) }
    }
}

/// What some nodes of a graph are made of.
struct Part {
    graph: Graph,
    bindings: Bindings,
    /// The nodes' numbers in the part.
    numbers: Vec<Option<NodeId>>,
}

impl Part {
    fn of(graph: &Graph, bindings: &Bindings, nodes: &[NodeId]) -> Result<Self> {
        let mut needed = vec![false; graph.nodes.len()];
        nodes.iter().for_each(|&id| needed[id] = true);
        for id in (0..graph.nodes.len()).rev().filter(|&id| !graph.nodes[id].op.is_effect()) {
            if needed[id] {
                graph.nodes[id].inputs.iter().for_each(|&i| needed[i] = true);
            }
        }
        let mut part = Self { graph: Graph::default(), bindings: Bindings::default(), numbers: vec![None; graph.nodes.len()] };
        let (mut leaves, mut scalars, mut randoms) = (bindings.leaves.iter(), bindings.scalars.iter(), bindings.randoms.iter());
        let unbound = || Error::internal("a source is not bound");
        for (id, node) in graph.nodes.iter().enumerate() {
            let (leaf, scalar, random) = match node.op {
                Op::Data | Op::Cell | Op::OptimStore => (Some(leaves.next().ok_or_else(unbound)?), None, None),
                Op::Scalar => (None, Some(scalars.next().ok_or_else(unbound)?), None),
                Op::Random(_) => (None, None, Some(randoms.next().ok_or_else(unbound)?)),
                _ => (None, None, None),
            };
            if !needed[id] {
                continue;
            }
            part.bindings.leaves.extend(leaf.cloned());
            part.bindings.scalars.extend(scalar);
            part.bindings.randoms.extend(random.cloned());
            let inputs = node.inputs.iter().filter_map(|&i| part.numbers[i]).collect();
            part.numbers[id] = Some(part.add(node.op.clone(), inputs, node.shape, node.dtype));
        }
        Ok(part)
    }

    fn add(&mut self, op: Op, inputs: Vec<NodeId>, shape: Shape, dtype: DType) -> NodeId {
        self.graph.nodes.push(GraphNode { op, inputs, shape, dtype });
        self.graph.nodes.len() - 1
    }

    /// Adds the reduction of a node of this part to one element.
    fn reduced(&mut self, id: NodeId, op: ReduceOp) -> NodeId {
        let GraphNode { shape, dtype, .. } = self.graph.nodes[id];
        let wide = dtype.arithmetic();
        let mut id = id;
        if wide != dtype {
            id = self.add(Op::Cast, vec![id], shape, wide);
        }
        let mut shape = shape;
        if shape.rank() == 0 {
            shape = Shape::of(&[1]);
            id = self.add(Op::Reshape, vec![id], shape, wide);
        }
        let axes: Vec<usize> = (0..shape.rank()).collect();
        let one = without(shape, &axes);
        self.add(Op::Reduce { op, axes }, vec![id], one, wide)
    }

    /// Runs the part; the values of these nodes of it.
    fn run(mut self, executor: &Executor, wanted: &[NodeId]) -> Result<Vec<Storage>> {
        let mut outputs: Vec<NodeId> = wanted.iter().copied().filter(|&id| !self.is_leaf(id)).collect();
        outputs.sort_unstable();
        outputs.dedup();
        self.graph.outputs = outputs;
        let mut values = Vec::new();
        let mut numbers: &[NodeId] = &[];
        let compiled;
        if !self.graph.outputs.is_empty() {
            compiled = executor.plan(&self.graph)?;
            values = executor.run(&compiled, &self.bindings)?;
            numbers = &compiled.outputs;
        }
        let missing = || Error::internal("a measured value is missing");
        let of = |id: NodeId| {
            let at = numbers.binary_search(&id).ok();
            at.and_then(|at| values.get(at)).cloned().or_else(|| self.leaf(id)).ok_or_else(missing)
        };
        wanted.iter().map(|&id| of(id)).collect()
    }

    fn is_leaf(&self, id: NodeId) -> bool {
        matches!(self.graph.nodes[id].op, Op::Data | Op::Cell)
    }

    /// The memory of a leaf.
    fn leaf(&self, id: NodeId) -> Option<Storage> {
        let before = &self.graph.nodes[..id];
        let number = before.iter().filter(|node| matches!(node.op, Op::Data | Op::Cell | Op::OptimStore)).count();
        match self.bindings.leaves.get(number).filter(|_| self.is_leaf(id))? {
            Leaf::Data(storage) | Leaf::Cell(storage) => Some(storage.clone()),
            Leaf::Store(_) => None,
        }
    }
}

/// The extremes of some nodes, and the memory of others. Waits for the device.
pub(super) fn measure(
    executor: &Executor,
    graph: &Graph,
    bindings: &Bindings,
    nodes: &[NodeId],
    values: &[NodeId],
) -> Result<(Measured, Vec<Storage>)> {
    let is_measured = |&&id: &&NodeId| graph.nodes[id].dtype.is_float() && graph.nodes[id].shape.numel() > 0;
    let mut nodes: Vec<NodeId> = nodes.iter().filter(is_measured).copied().collect();
    nodes.sort_unstable();
    nodes.dedup();
    if nodes.is_empty() && values.is_empty() {
        return Ok(Default::default());
    }
    let mut part = Part::of(graph, bindings, &[&nodes[..], values].concat())?;
    let lost = || Error::internal("a measured node is missing from its graph");
    let own = |part: &Part, id: NodeId| part.numbers[id].ok_or_else(lost);
    let mut wanted = Vec::new();
    for &id in &nodes {
        let own = own(&part, id)?;
        wanted.extend([ReduceOp::Max, ReduceOp::Min].map(|op| part.reduced(own, op)));
    }
    for &id in values {
        wanted.push(own(&part, id)?);
    }
    let dtypes: Vec<DType> = wanted.iter().map(|&id| part.graph.nodes[id].dtype).collect();
    let mut memory = part.run(executor, &wanted)?;
    let kept = memory.split_off(2 * nodes.len());
    // All of them are on their way before the first one is waited for.
    let coming: Vec<(Transfer, DType)> = memory
        .iter()
        .zip(dtypes)
        .map(|(m, dtype)| Ok((executor.start_read(m, dtype, 1, None)?, dtype)))
        .collect::<Result<_>>()?;
    let mut numbers = Vec::with_capacity(coming.len());
    for (transfer, dtype) in coming {
        let data = executor.finish_read(transfer, dtype, 1)?;
        numbers.push(data.to_f64().first().copied().unwrap_or(f64::NAN));
    }
    let measured = nodes.into_iter().zip(numbers.chunks(2)).filter_map(|(id, m)| Some((id, (*m.first()?, *m.get(1)?).into())));
    Ok((measured.collect(), kept))
}

/// The elements of some nodes. Waits for the device.
pub(super) fn values_of(executor: &Executor, graph: &Graph, bindings: &Bindings, nodes: &[NodeId]) -> Result<Vec<HostData>> {
    let (_, values) = measure(executor, graph, bindings, &[], nodes)?;
    let read = |(memory, &id): (&Storage, &NodeId)| executor.read(memory, graph.nodes[id].dtype, graph.nodes[id].shape.numel());
    values.iter().zip(nodes).map(read).collect()
}
