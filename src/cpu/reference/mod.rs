//! The oracle: runs a graph node by node, unfused and serial, with all arithmetic in f64.
//!
//! The loops here are meant to be trusted by reading. Speed does not matter, except that f64 tensors run here too.

pub(crate) mod conv2d;
pub(crate) mod elementwise;
pub(crate) mod matmul;
pub(crate) mod movement;
pub(crate) mod optim;
pub(crate) mod pool;
pub(crate) mod random;
pub(crate) mod reduce;
pub(crate) mod standardize;
#[cfg(test)]
mod tests;
mod value;

use super::{attention, recurrent, row};
use crate::error::{Error, Result};
use crate::graph::{Graph, GraphNode, NodeId, Op};
use crate::rng::RandomKey;
pub(crate) use optim::StoreValues;
pub(crate) use value::{Numbers, Precision, Value};

/// What a graph's sources are bound to, in node order. Effects write to it.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReferenceInputs {
    /// Per `Data`, `Cell` and `OptimStore` node.
    pub leaves: Vec<ReferenceLeaf>,
    /// Per `Scalar` node.
    pub scalars: Vec<f64>,
    /// Per `Random` node.
    pub randoms: Vec<RandomKey>,
}

/// What one leaf is bound to.
#[derive(Debug, Clone)]
pub(crate) enum ReferenceLeaf {
    /// A `Data` or `Cell` node's value; `Assign` replaces a cell's.
    Value(Value),
    /// An `OptimStore` node's parameters, state and coefficients; `OptimStep` updates them.
    Store(StoreValues),
}

/// Runs a graph and returns the values of its outputs, in their order.
pub(crate) fn run(graph: &Graph, inputs: &mut ReferenceInputs, precision: Precision) -> Result<Vec<Value>> {
    let mut values: Vec<Option<Value>> = Vec::with_capacity(graph.nodes.len());
    let mut uses = graph.uses();
    let leaf_of = leaf_numbers(graph);
    let (mut scalars, mut randoms) = (0, 0);
    for (id, node) in graph.nodes.iter().enumerate() {
        let value = match &node.op {
            Op::Data | Op::Cell => Some(value_leaf(inputs, leaf_of[id])?.clone()),
            Op::OptimStore => None,
            Op::Scalar => {
                let x = *inputs.scalars.get(scalars).ok_or_else(|| Error::internal("a scalar is not bound"))?;
                scalars += 1;
                Some(Value::of(node, Numbers::Float(vec![x]), precision))
            }
            Op::Random(word) => {
                let key = *inputs.randoms.get(randoms).ok_or_else(|| Error::internal("a random key is not bound"))?;
                randoms += 1;
                Some(Value::of(node, Numbers::U32(random::bits(node.shape.numel(), key, *word)), precision))
            }
            Op::Assign => {
                let value = operand(&values, node, 1)?.clone();
                let leaf = assigned_leaf(graph, &leaf_of, id);
                *value_leaf(inputs, leaf)? = value.clone();
                Some(value)
            }
            Op::OptimStep { rule, gated, clipped: false, entries } => {
                let gradients = (1..node.inputs.len()).map(|k| operand(&values, node, k)).collect::<Result<Vec<_>>>()?;
                let leaf = leaf_of[node.inputs[0]];
                let Some(ReferenceLeaf::Store(store)) = leaf.and_then(|leaf| inputs.leaves.get_mut(leaf)) else {
                    return Err(Error::internal("an optimizer step has no store"));
                };
                optim::step(*rule, *gated, entries, store, &gradients, precision)?;
                None
            }
            Op::OptimStep { .. } => return Err(Error::internal("only GPUs clip gradients within a step")),
            _ => {
                let operands = (0..node.inputs.len()).map(|k| operand(&values, node, k)).collect::<Result<Vec<_>>>()?;
                Some(Value::of(node, compute(node, &operands)?, precision))
            }
        };
        values.push(value);
        // A value is dropped after its last use, so that a deep graph does not hold all of them.
        for &i in &node.inputs {
            uses[i] -= 1;
            if uses[i] == 0 {
                values[i] = None;
            }
        }
    }
    graph.outputs.iter().map(|&o| values[o].clone().ok_or_else(|| Error::internal(format!("node {o} has no value")))).collect()
}

/// The value of a node that is neither a source (except `Iota`) nor an effect, before it is rounded.
fn compute(node: &GraphNode, x: &[&Value]) -> Result<Numbers> {
    Ok(match &node.op {
        Op::Iota => random::iota(node),
        Op::Unary(op) => elementwise::run_unary(*op, x[0]),
        Op::Binary(op) => elementwise::run_binary(*op, x[0], x[1])?,
        Op::Where => elementwise::run_where(x[0], x[1], x[2])?,
        Op::Cast => elementwise::cast(&x[0].data, node.dtype),
        Op::Standardize { axes, scaled, shifted } => standardize::forward(axes, [*scaled, *shifted], x)?,
        Op::StandardizeGrad { axes, .. } => standardize::backward(axes, x)?,
        Op::Reshape | Op::Recomputed => x[0].data.clone(),
        Op::Permute(order) => movement::permute(x[0], order, &node.shape),
        Op::Expand => movement::expand(x[0], &node.shape),
        Op::Slice { start, step } => movement::slice(x[0], start, step, &node.shape),
        Op::Pad { before } => movement::pad(x[0], before, &node.shape),
        Op::Reduce { op, axes } => reduce::reduce(*op, x[0], axes),
        Op::Pair { op, axes } => standardize::pair(*op, axes, x)?,
        Op::ArgReduce { op, axis } => reduce::arg_reduce(*op, x[0], *axis),
        Op::Row(op) => row::reference(*op, x, &node.shape)?,
        Op::MatMul => matmul::matmul(x[0], x[1], &node.shape)?,
        Op::Attention(op) => attention::reference::run(*op, x)?,
        Op::Recurrent(op) => recurrent::reference::run(*op, x)?,
        Op::Conv2d(spec) => conv2d::forward(spec, x[0], x[1], &node.shape)?,
        Op::Conv2dInputGrad(spec) => conv2d::input_grad(spec, x[0], x[1], &node.shape)?,
        Op::Conv2dWeightGrad(spec) => conv2d::weight_grad(spec, x[0], x[1], &node.shape)?,
        Op::Pool(op, spec) => pool::pool(*op, spec, x, &node.shape)?,
        Op::Data | Op::Cell | Op::Scalar | Op::Random(_) | Op::OptimStore | Op::Assign | Op::OptimStep { .. } => {
            return Err(Error::internal(format!("{} is not computed", node.op.name())));
        }
    })
}

/// Per node, its number among the leaves, if it is one.
pub(crate) fn leaf_numbers(graph: &Graph) -> Vec<Option<usize>> {
    let mut next = 0;
    let number = |node: &GraphNode| {
        let leaf = matches!(node.op, Op::Data | Op::Cell | Op::OptimStore);
        next += usize::from(leaf);
        leaf.then(|| next - 1)
    };
    graph.nodes.iter().map(number).collect()
}

/// The leaf that an `Assign` node overwrites; assignments to one cell may be chained.
pub(crate) fn assigned_leaf(graph: &Graph, leaf_of: &[Option<usize>], mut id: NodeId) -> Option<usize> {
    while let Op::Assign = graph.nodes[id].op {
        id = graph.nodes[id].inputs[0];
    }
    leaf_of[id]
}

fn operand<'a>(values: &'a [Option<Value>], node: &GraphNode, k: usize) -> Result<&'a Value> {
    let value = node.inputs.get(k).and_then(|&i| values[i].as_ref());
    value.ok_or_else(|| Error::internal(format!("operand {k} of {} has no value", node.op.name())))
}

fn value_leaf(inputs: &mut ReferenceInputs, leaf: Option<usize>) -> Result<&mut Value> {
    match leaf.and_then(|leaf| inputs.leaves.get_mut(leaf)) {
        Some(ReferenceLeaf::Value(value)) => Ok(value),
        _ => Err(Error::internal("a leaf is not bound to a value")),
    }
}
