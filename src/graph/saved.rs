//! What a gradient rule may read besides the incoming gradient.

use super::op::{Op, UnaryOp};

/// Whether the rule of `op` reads its operand rather than its result: a rectifier's sign can be had from both, and what an operand of
/// this kind is computed from is in memory anyway.
pub(crate) fn by_operand(op: &Op, operand: &Op) -> bool {
    *op == Op::Unary(UnaryOp::Relu) && matches!(operand, Op::Standardize { .. })
}

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
