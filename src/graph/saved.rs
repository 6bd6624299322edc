//! What each gradient rule reads besides the incoming gradient: this decides what an evaluation keeps for backward.
//!
//! Both matches name every op: a new one does not compile before somebody has decided.

use super::op::{BinaryOp, Op, PoolOp, ReduceOp, UnaryOp};

/// A value that a gradient rule reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// The node's own.
    Output,
    /// Its n-th operand's.
    Input(usize),
    /// Its n-th operand's, if a gradient flows to the other one: a product needs one factor for the other's gradient.
    Factor(usize),
    /// All operands' from the n-th on.
    From(usize),
}

/// The values that the gradient rule of `op` reads.
pub(crate) fn kept(op: &Op) -> &'static [Kept] {
    use Kept::{Factor, From, Input, Output};
    match op {
        Op::Unary(op) => match op {
            UnaryOp::Neg
            | UnaryOp::Sign
            | UnaryOp::Floor
            | UnaryOp::Ceil
            | UnaryOp::Round
            | UnaryOp::Trunc
            | UnaryOp::Not
            | UnaryOp::IsNan
            | UnaryOp::IsFinite => &[],
            UnaryOp::Sqrt
            | UnaryOp::Rsqrt
            | UnaryOp::Reciprocal
            | UnaryOp::Exp
            | UnaryOp::Expm1
            | UnaryOp::Tan
            | UnaryOp::Tanh
            | UnaryOp::Sigmoid
            | UnaryOp::Relu => &[Output],
            UnaryOp::Abs
            | UnaryOp::Square
            | UnaryOp::Log
            | UnaryOp::Log1p
            | UnaryOp::Sin
            | UnaryOp::Cos
            | UnaryOp::Asin
            | UnaryOp::Acos
            | UnaryOp::Atan
            | UnaryOp::Sinh
            | UnaryOp::Cosh
            | UnaryOp::Erf
            | UnaryOp::Softplus => &[Input(0)],
        },
        Op::Binary(op) => match op {
            BinaryOp::Mul => &[Factor(0), Factor(1)],
            BinaryOp::Div => &[Output, Input(1)],
            BinaryOp::Pow => &[Output, Input(0), Input(1)],
            BinaryOp::Rem | BinaryOp::Atan2 | BinaryOp::Minimum | BinaryOp::Maximum => &[Input(0), Input(1)],
            BinaryOp::Add
            | BinaryOp::Sub
            | BinaryOp::Eq
            | BinaryOp::Ne
            | BinaryOp::Lt
            | BinaryOp::Le
            | BinaryOp::Gt
            | BinaryOp::Ge
            | BinaryOp::And
            | BinaryOp::Or
            | BinaryOp::Xor => &[],
        },
        Op::MatMul | Op::Conv2d(_) | Op::Conv2dInputGrad(_) | Op::Conv2dWeightGrad(_) => &[Factor(0), Factor(1)],
        Op::Where => &[Input(0)],
        Op::CrossEntropy => &[Input(0), Input(1)],
        Op::Gather | Op::ScatterAdd => &[Input(1)],
        Op::Normalize { .. } => &[Output, Input(2)],
        Op::Recomputed => &[From(1)],
        Op::Reduce { op: ReduceOp::Prod | ReduceOp::Max | ReduceOp::Min, .. } => &[Output, Input(0)],
        Op::Softmax { .. } => &[Output],
        Op::Pool(PoolOp::Max | PoolOp::MaxScatter | PoolOp::MaxSelect, _) => &[Input(0)],
        Op::CrossEntropyGrad => &[Input(0), Input(1), Input(2)],
        // Linear in their operands, or without a gradient.
        Op::Reduce { op: ReduceOp::Sum, .. }
        | Op::Pool(PoolOp::Avg | PoolOp::AvgScatter, _)
        | Op::Cast
        | Op::Reshape
        | Op::Permute(_)
        | Op::Expand
        | Op::Slice { .. }
        | Op::Pad { .. }
        | Op::ArgReduce { .. }
        | Op::ArgSort { .. }
        | Op::Data
        | Op::Scalar
        | Op::Cell
        | Op::Iota
        | Op::Random(_)
        | Op::Assign
        | Op::OptimStep { .. }
        | Op::OptimStore => &[],
    }
}
