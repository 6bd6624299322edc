//! Losses: how far predictions are from what they should be.

use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// How the losses of single samples or elements become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reduction {
    /// Their mean.
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// They stay apart.
    None,
}

impl Reduction {
    fn apply(self, losses: &Tensor) -> Tensor {
        match self {
            Self::Mean => losses.mean((), false),
            Self::Sum => losses.sum((), false),
            Self::None => losses.clone(),
        }
    }
}

/// `-log_softmax(logits)[i, labels[i]]` for logits `[n, classes]` and I32 labels `[n]`.
///
/// # Errors
/// Shapes or dtypes that do not fit. Labels outside `0..classes` surface when the loss is evaluated.
pub fn cross_entropy(logits: &Tensor, labels: &Tensor, reduction: Reduction) -> Result<Tensor> {
    checked(reduction.apply(&logits.cross_entropy(labels)))
}

/// Squared error `(prediction - target)²` of two tensors of one shape.
///
/// # Errors
/// The shapes differ.
pub fn mse(prediction: &Tensor, target: &Tensor, reduction: Reduction) -> Result<Tensor> {
    same_shape("mse", prediction, target)?;
    checked(reduction.apply(&(prediction - target).square()))
}

/// Absolute error `|prediction - target|` of two tensors of one shape.
///
/// # Errors
/// The shapes differ.
pub fn mae(prediction: &Tensor, target: &Tensor, reduction: Reduction) -> Result<Tensor> {
    same_shape("mae", prediction, target)?;
    checked(reduction.apply(&(prediction - target).abs()))
}

/// Binary cross-entropy of `sigmoid(logits)` with targets in 0..1, stable for large logits:
/// `max(x, 0) - x·t + ln(1 + e^-|x|)`.
///
/// # Errors
/// The shapes differ.
pub fn binary_cross_entropy_with_logits(logits: &Tensor, target: &Tensor, reduction: Reduction) -> Result<Tensor> {
    same_shape("binary_cross_entropy_with_logits", logits, target)?;
    checked(reduction.apply(&(logits.softplus() - logits * target)))
}

/// The share of rows of logits `[n, classes]` whose largest element stands at their label, as an F32 scalar.
///
/// # Errors
/// Shapes or dtypes that do not fit.
pub fn accuracy(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    checked(logits.detach().argmax(-1, false).eq(labels).cast(crate::dtype::DType::F32).mean((), false))
}

fn checked(x: Tensor) -> Result<Tensor> {
    x.check()?;
    Ok(x)
}

/// Broadcasting two sides of a loss is nearly always a mistake, `[n]` against `[n, 1]` above all.
fn same_shape(what: &str, a: &Tensor, b: &Tensor) -> Result<()> {
    let (a, b) = (a.shape()?, b.shape()?);
    if a == b {
        return Ok(());
    }
    Err(Error::argument(what, format!("prediction {a} and target {b} differ in shape"), "reshape or expand one of them"))
}
