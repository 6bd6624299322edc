//! What an augmentation is, and what several of them share.

use crate::error::{Error, Result};
use crate::lazy::no_grad;
use crate::rng::Generator;
use crate::tensor::Tensor;

/// What changes a batch, each sample in its own way. No gradient flows.
pub trait Augment: std::fmt::Debug + Send + Sync {
    /// The changed batch.
    ///
    /// # Errors
    /// The batch has another rank, number of channels or size than the augmentation is for.
    fn apply(&self, x: &Tensor, generator: &Generator) -> Result<Tensor>;
}

/// Augmentations one after the other.
#[derive(Debug, Default)]
pub struct Compose {
    steps: Vec<Box<dyn Augment>>,
}

impl Compose {
    /// No augmentation yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a step at the end.
    #[must_use]
    pub fn push(mut self, step: impl Augment + 'static) -> Self {
        self.steps.push(Box::new(step));
        self
    }
}

impl Augment for Compose {
    fn apply(&self, x: &Tensor, generator: &Generator) -> Result<Tensor> {
        no_grad(|| self.steps.iter().try_fold(x.detach(), |x, step| step.apply(&x, generator)))
    }
}

/// Uniform in 0..1, one number per sample of `x`, of its rank.
pub(super) fn per_sample(x: &Tensor, generator: &Generator) -> Result<Tensor> {
    let mut shape = vec![1; x.shape()?.rank()];
    if let Some(first) = shape.first_mut() {
        *first = x.shape()?[0];
    }
    Tensor::rand(shape, generator, &x.device()?)
}

/// Refuses what is neither a probability nor a share.
pub(super) fn need_probability(what: &str, p: f64) -> Result<f64> {
    if (0.0..=1.0).contains(&p) {
        return Ok(p);
    }
    Err(Error::argument(what, format!("{p} was given"), "use a number in 0..=1, such as 0.5"))
}
