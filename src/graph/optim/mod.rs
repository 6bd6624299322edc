//! What an optimizer's step means: rules and their formulas, the numbers of a step, and the gate that skips one.

mod float;
mod numbers;
mod rule;

pub(crate) use numbers::{BLOCK, VARIANTS, WINDOW};
pub use numbers::{Coefficients, DecayMode, Gate};
pub use rule::OptimRule;
pub(crate) use rule::{Elements, State, direction, trust};
