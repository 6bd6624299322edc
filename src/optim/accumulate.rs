//! Gradients of several batches for one step.

use crate::autodiff::Gradients;
use crate::error::{Error, Result};

/// Adds up the gradients of several small batches, so that one step sees a large one.
///
/// Each batch's gradients are computed when they are added: nothing of the batch is kept, and the graph does not grow.
///
/// The sum is not part of a checkpoint: to continue bit for bit, take a checkpoint after a step, when there is no sum.
///
/// ```
/// # use wgrad::optim::GradientAccumulator;
/// # use wgrad::{Device, Param, Tensor};
/// # fn main() -> wgrad::Result<()> {
/// let w = Param::new(&Tensor::ones([2], &Device::cpu()?)?)?;
/// let mut sum = GradientAccumulator::new();
/// for factor in [1.0, 3.0] {
///     sum.add(&(w.tensor() * factor).sum().backward()?)?;
/// }
/// assert_eq!(sum.mean()?.get(&w)?.to_vec::<f32>()?, [2.0, 2.0]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "gradients are added up for an optimizer to step with"]
pub struct GradientAccumulator {
    sum: Option<Gradients>,
    batches: usize,
}

impl GradientAccumulator {
    /// No gradients yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many batches have been added since the last step.
    pub fn batches(&self) -> usize {
        self.batches
    }

    /// Adds a batch's gradients and starts their computation.
    ///
    /// # Errors
    /// Evaluation errors; the sum does not change in that case.
    #[track_caller]
    pub fn add(&mut self, gradients: &Gradients) -> Result<()> {
        let mut sum = self.sum.clone().unwrap_or_default();
        sum.accumulate(gradients);
        sum.eval()?;
        self.sum = Some(sum);
        self.batches += 1;
        Ok(())
    }

    /// The sum, to step with; the accumulator is empty afterwards.
    ///
    /// # Errors
    /// Nothing was added.
    #[track_caller]
    pub fn sum(&mut self) -> Result<Gradients> {
        self.batches = 0;
        let Some(sum) = self.sum.take() else {
            return Err(Error::argument("GradientAccumulator", "no gradients were added", "call add for each batch first"));
        };
        Ok(sum)
    }

    /// The sum divided by the number of batches: the gradient of the mean loss, if the batches are of equal size.
    ///
    /// # Errors
    /// Nothing was added.
    #[track_caller]
    pub fn mean(&mut self) -> Result<Gradients> {
        let factor = 1.0 / self.batches.max(1) as f64;
        let mut sum = self.sum()?;
        sum.map(|g| g * factor);
        Ok(sum)
    }
}
