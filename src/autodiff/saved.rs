//! What each gradient rule reads besides the incoming gradient: this decides what an evaluation keeps for backward.

use crate::graph::Op;
use crate::graph::op::{BinaryOp, PoolOp, ReduceOp, UnaryOp};
use crate::tensor::node::Node;
use std::sync::Arc;

/// The nodes whose values the rule of `node` reads.
pub(crate) fn saved_by(node: &Arc<Node>, inputs: &[Arc<Node>]) -> Vec<Arc<Node>> {
    let input = |i: usize| inputs.get(i).cloned();
    // A bilinear op needs one factor for the other's gradient.
    let factors = || {
        let needs = |i: usize| inputs.get(i).is_some_and(|n| n.requires_grad);
        [needs(1).then(|| input(0)).flatten(), needs(0).then(|| input(1)).flatten()]
    };
    let own = || Some(node.clone());
    let kept: Vec<Option<Arc<Node>>> = match &node.op {
        Op::Unary(op) => match op {
            UnaryOp::Neg
            | UnaryOp::Sign
            | UnaryOp::Floor
            | UnaryOp::Ceil
            | UnaryOp::Round
            | UnaryOp::Trunc
            | UnaryOp::Not
            | UnaryOp::IsNan
            | UnaryOp::IsFinite => vec![],
            UnaryOp::Sqrt
            | UnaryOp::Rsqrt
            | UnaryOp::Reciprocal
            | UnaryOp::Exp
            | UnaryOp::Expm1
            | UnaryOp::Tan
            | UnaryOp::Tanh
            | UnaryOp::Sigmoid
            | UnaryOp::Relu => vec![own()],
            _ => vec![input(0)],
        },
        Op::Binary(BinaryOp::Mul) | Op::MatMul | Op::Conv2d(_) | Op::Conv2dInputGrad(_) | Op::Conv2dWeightGrad(_) => {
            factors().into()
        }
        Op::Binary(BinaryOp::Div) => vec![own(), input(1)],
        Op::Binary(BinaryOp::Pow) => vec![own(), input(0), input(1)],
        Op::Binary(BinaryOp::Rem | BinaryOp::Atan2 | BinaryOp::Minimum | BinaryOp::Maximum) => vec![input(0), input(1)],
        Op::Where => vec![input(0)],
        Op::Normalize { .. } => vec![own(), input(2)],
        Op::Recomputed => (1..inputs.len()).map(input).collect(),
        Op::Reduce { op: ReduceOp::Prod | ReduceOp::Max | ReduceOp::Min, .. } => vec![own(), input(0)],
        Op::Softmax { .. } => vec![own()],
        Op::Pool(PoolOp::Max | PoolOp::MaxScatter | PoolOp::MaxSelect, _) => vec![input(0)],
        Op::CrossEntropy => vec![input(0)],
        Op::CrossEntropyGrad => vec![input(0), input(2)],
        _ => vec![],
    };
    kept.into_iter().flatten().collect()
}
