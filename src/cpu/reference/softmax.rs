//! Softmax and its logarithm over the last axis.

use super::{Numbers, Value};
use crate::error::Result;
use crate::math::exact::maximum;

/// `e^x / Σ e^x` of one row, or its logarithm. A row of only -∞ gives zeros (its logarithm: -∞).
pub(super) fn row(x: &[f64], log: bool) -> Vec<f64> {
    let max = x.iter().copied().fold(f64::NEG_INFINITY, maximum);
    if max == f64::NEG_INFINITY {
        return vec![if log { max } else { 0.0 }; x.len()];
    }
    let sum: f64 = x.iter().map(|x| (x - max).exp()).sum();
    if log { x.iter().map(|x| x - max - sum.ln()).collect() } else { x.iter().map(|x| (x - max).exp() / sum).collect() }
}

/// Every row through [`row`].
pub(super) fn softmax(x: &Value, log: bool) -> Result<Numbers> {
    let cols = x.shape.last().copied().unwrap_or(1).max(1);
    Ok(Numbers::Float(x.floats()?.chunks(cols).flat_map(|r| row(r, log)).collect()))
}
