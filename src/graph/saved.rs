//! What a gradient rule may read besides the incoming gradient.

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
