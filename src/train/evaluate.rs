//! How well a classifier does on a data set.

use super::confusion::ConfusionMatrix;
use super::meter::Meter;
use crate::data::{LabelledImages, Loader};
use crate::device::Device;
use crate::error::Result;
use crate::nn::loss::{Reduction, cross_entropy};
use crate::nn::{Module, evaluating};
use crate::tensor::Tensor;

/// The outcome of [`evaluate`] and [`evaluate_batches`].
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Mean cross-entropy.
    pub loss: f64,
    /// What was taken for what; its `accuracy()` is the share of right predictions.
    pub confusion: ConfusionMatrix,
}

/// Runs a classifier over images in evaluation mode and without gradients; every layer is back in its own mode afterwards.
///
/// `prepare` maps images in 0..1 to the model's input, which usually means to normalise them.
///
/// # Errors
/// The data do not fit the model; evaluation errors.
pub fn evaluate(
    model: &dyn Module,
    data: &LabelledImages,
    classes: usize,
    batch: usize,
    device: &Device,
    prepare: impl Fn(&Tensor) -> Tensor,
) -> Result<Evaluation> {
    let batches = Loader::new(data.len(), batch, 0)?.shuffle(false).epoch(0);
    let batches = batches.map(|indices| {
        let (images, labels) = data.batch(&indices, device)?;
        Ok((prepare(&images), labels))
    });
    evaluate_batches(model, classes, batches)
}

/// As [`evaluate`], over inputs and I32 labels `[n]` of any data set; the model gives logits `[n, classes]`.
///
/// ```
/// # use wgrad::nn::{Init, Linear};
/// # use wgrad::train::evaluate_batches;
/// # use wgrad::{Device, Tensor};
/// # fn main() -> wgrad::Result<()> {
/// # let device = Device::cpu()?;
/// let model = Linear::new(4, 3, &Init::new(&device, 0))?;
/// let batch = |n: usize| Ok((Tensor::ones([n, 4], &device)?, Tensor::from_slice(&vec![1; n], [n], &device)?));
/// let evaluation = evaluate_batches(&model, 3, [5, 2].into_iter().map(batch))?;
/// assert_eq!(evaluation.confusion.total(), 7);
/// # Ok(()) }
/// ```
///
/// # Errors
/// An error of a batch; data that do not fit the model; evaluation errors.
pub fn evaluate_batches(
    model: &dyn Module,
    classes: usize,
    batches: impl IntoIterator<Item = Result<(Tensor, Tensor)>>,
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
