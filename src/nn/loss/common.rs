//! What all losses share: how they are reduced, and what their operands must be.

use crate::error::Result;
use crate::lazy::Node;
use crate::tensor::{At, Fault, Tensor, need_float};
use std::sync::Arc;

/// How the losses of single samples or elements become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reduction {
    /// Their mean.
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// Nothing: one loss per sample or element.
    None,
}

impl Reduction {
    pub(super) fn apply(self, losses: &Tensor) -> Tensor {
        match self {
            Self::Mean => losses.mean(),
            Self::Sum => losses.sum(),
            Self::None => losses.clone(),
        }
    }
}

/// A loss over operands that a rule checks.
#[track_caller]
pub(super) fn loss(
    name: &'static str,
    operands: &[&Tensor],
    at: At,
    rule: impl FnOnce(&[&Arc<Node>]) -> Result<Tensor, Fault>,
) -> Result<Tensor> {
    checked(Tensor::guard(name, operands, at, rule))
}

/// A loss of two float tensors of the same shape, element by element.
pub(super) fn elementwise(
    name: &'static str,
    [prediction, target]: [&Tensor; 2],
    reduction: Reduction,
    at: At,
    rule: impl FnOnce() -> Result<Tensor, Fault>,
) -> Result<Tensor> {
    loss(name, &[prediction, target], at, |n| {
        alike(n)?;
        Ok(reduction.apply(&rule()?))
    })
}

pub(super) fn checked(x: Tensor) -> Result<Tensor> {
    x.check()?;
    Ok(x)
}

/// Faults unless all operands are floats of the same dtype and shape.
pub(super) fn alike(nodes: &[&Arc<Node>]) -> Result<(), Fault> {
    one_dtype(nodes)?;
    let Some(other) = nodes.iter().find(|n| n.shape != nodes[0].shape) else { return Ok(()) };
    let reason = format!("shapes {} and {} differ", nodes[0].shape, other.shape);
    Err(Fault::shape(reason, "reshape or expand one of them"))
}

/// Faults unless all operands are floats of the same dtype.
pub(super) fn one_dtype(nodes: &[&Arc<Node>]) -> Result<(), Fault> {
    for node in nodes {
        need_float(node)?;
        if node.dtype != nodes[0].dtype {
            return Err(Fault::dtype(format!("dtypes {} and {} differ", nodes[0].dtype, node.dtype), "cast one"));
        }
    }
    Ok(())
}

/// `value`, unless it is not a finite number above (or, with `or_zero`, at) 0.
pub(super) fn need_positive(what: &str, value: f64, or_zero: bool) -> Result<f64, Fault> {
    if value.is_finite() && (value > 0.0 || (or_zero && value == 0.0)) {
        return Ok(value);
    }
    let sign = if or_zero { ">=" } else { ">" };
    Err(Fault::attribute(format!("{what} = {value} is out of range"), format!("use a finite {what} {sign} 0")))
}
