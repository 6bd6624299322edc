//! How well a classifier does on a data set.

use super::confusion::ConfusionMatrix;
use super::meter::Meter;
use crate::data::{LabelledImages, Loader};
use crate::device::Device;
use crate::error::Result;
use crate::nn::Module;
use crate::nn::loss::{Reduction, cross_entropy};
use crate::tensor::Tensor;
use crate::tensor::node::no_grad;

/// The outcome of [`evaluate`].
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Mean cross-entropy.
    pub loss: f64,
    /// What was taken for what; its `accuracy()` is the share of right predictions.
    pub confusion: ConfusionMatrix,
}

/// Runs a classifier in evaluation mode over a data set, without gradients, and puts it back into training mode.
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
    struct Train<'a>(&'a dyn Module);
    impl Drop for Train<'_> {
        fn drop(&mut self) {
            self.0.train();
        }
    }
    model.eval();
    let _back = Train(model);
    let mut loss = Meter::new();
    let mut confusion = ConfusionMatrix::new(classes);
    for indices in Loader::new(data.len(), batch, 0)?.shuffle(false).epoch(0) {
        let (images, labels) = data.batch(&indices, device)?;
        no_grad(|| {
            let logits = model.forward(&prepare(&images))?;
            let predictions = logits.argmax(-1, false);
            let batch_loss = cross_entropy(&logits, &labels, Reduction::Mean)?;
            Tensor::eval_all(&[&predictions, &batch_loss])?;
            loss.push(&batch_loss, indices.len() as f64)?;
            confusion.update(&labels.to_vec::<i32>()?, &predictions.to_vec::<i32>()?)
        })?;
    }
    Ok(Evaluation { loss: loss.mean()?, confusion })
}
