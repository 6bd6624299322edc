//! How well a classifier does on a data set.

use super::confusion::ConfusionMatrix;
use super::meter::Meter;
use crate::error::Result;
use crate::nn::loss::{Reduction, cross_entropy};
use crate::nn::{Module, evaluating};
use crate::tensor::Tensor;

/// The outcome of [`evaluate`].
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Mean cross-entropy.
    pub loss: f64,
    /// What was taken for what; its `accuracy()` is the share of right predictions.
    pub confusion: ConfusionMatrix,
}

/// Runs a classifier in evaluation mode and without gradients over batches of inputs and I32 labels `[n]`, which a
/// [`DataLoader`](crate::data::DataLoader) gives; the model gives logits `[n, classes]`. Every layer is back in its own mode
/// afterwards.
///
/// ```
/// # use wgrad::data::{DataLoader, VecDataset};
/// # use wgrad::nn::{Init, Linear};
/// # use wgrad::train::evaluate;
/// # fn main() -> wgrad::Result<()> {
/// # let device = wgrad::Device::cpu()?;
/// let model = Linear::new(4, 3, &Init::new(&device, 0))?;
/// let samples = VecDataset(vec![([0.5f32, 1.0, 2.0, 4.0], 1); 7]);
/// let evaluation = evaluate(&model, &DataLoader::new(samples, 5, &device)?, 3)?;
/// assert_eq!(evaluation.confusion.total(), 7);
/// # Ok(()) }
/// ```
///
/// # Errors
/// An error of a batch; data that do not fit the model; evaluation errors.
#[track_caller]
pub fn evaluate(
    model: &dyn Module,
    batches: impl IntoIterator<Item = Result<(Tensor, Tensor)>>,
    classes: usize,
) -> Result<Evaluation> {
    let mut loss = Meter::new();
    let mut confusion = ConfusionMatrix::new(classes)?;
    evaluating(model, || {
        for batch in batches {
            let (x, labels) = batch?;
            let logits = model.forward(&x)?;
            let predictions = logits.argmax_dim(-1);
            let batch_loss = cross_entropy(&logits, &labels, Reduction::Mean)?;
            Tensor::eval_all(&[&predictions, &batch_loss])?;
            loss.push(&batch_loss, labels.shape()?.numel() as f64)?;
            confusion.update(&labels.to_vec::<i32>()?, &predictions.to_vec::<i32>()?)?;
        }
        Ok(())
    })?;
    Ok(Evaluation { loss: loss.mean()?, confusion })
}
