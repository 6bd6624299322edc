//! Cross-entropy of logits with integer labels, and its gradient. Labels out of range clamp.

use super::softmax::row;
use super::{Numbers, Value};
use crate::error::Result;

/// `-log_softmax(logits)[i, labels[i]]`.
pub(super) fn loss(logits: &Value, labels: &Value) -> Result<Numbers> {
    let cols = logits.shape[1];
    let rows = logits.floats()?.chunks(cols.max(1)).zip(labels.ints()?);
    Ok(Numbers::Float(rows.map(|(x, &label)| -row(x, true)[clamp(label, cols)]).collect()))
}

/// `(softmax(logits) - one_hot(labels)) * ct`.
pub(super) fn gradient(logits: &Value, labels: &Value, ct: &Value) -> Result<Numbers> {
    let cols = logits.shape[1];
    let mut out = Vec::new();
    for ((x, &label), ct) in logits.floats()?.chunks(cols.max(1)).zip(labels.ints()?).zip(ct.floats()?) {
        let mut p = row(x, false);
        p[clamp(label, cols)] -= 1.0;
        out.extend(p.iter().map(|p| p * ct));
    }
    Ok(Numbers::Float(out))
}

/// The nearest index in `0..len`.
pub(super) fn clamp(index: i32, len: usize) -> usize {
    usize::try_from(index).unwrap_or(0).min(len.saturating_sub(1))
}
