//! What a transform is, and what several of them share.

use crate::error::{Error, Result};
use crate::lazy::no_grad;
use crate::rng::Generator;
use crate::tensor::Tensor;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// What changes a batch of inputs on the device: preparation, such as [`Normalize`](super::Normalize), which draws nothing, and
/// augmentation, which draws for each sample. Images are `[n, c, h, w]`, sounds `[n, length]`, spectrograms `[n, bands, frames]`.
///
/// `&T`, `Arc<T>` and `Box<T>` of a transform are transforms; [`Lambda`] makes one of a closure.
///
/// ```
/// use wgrad::data::transforms::Transform;
/// use wgrad::{Device, Generator, Result, Tensor};
///
/// /// Multiplies each sample by a factor in `1 - limit..1 + limit`.
/// struct Gain {
///     limit: f64,
/// }
///
/// impl Transform for Gain {
///     fn apply(&self, x: &Tensor, generator: &Generator) -> Result<Tensor> {
///         let mut shape = vec![1; x.shape()?.rank()];
///         shape[0] = x.dim(0)?;
///         Ok(x * Tensor::uniform(shape, 1.0 - self.limit, 1.0 + self.limit, generator, &x.device()?)?)
///     }
/// }
///
/// # fn main() -> Result<()> {
/// let x = Tensor::ones([4, 1, 5], &Device::cpu()?)?;
/// assert_eq!(Gain { limit: 0.1 }.apply(&x, &Generator::new(0))?.shape()?, [4, 1, 5]);
/// # Ok(()) }
/// ```
pub trait Transform: Send + Sync {
    /// The changed batch. All randomness comes from `generator`, so that its seed and offset reproduce the batch.
    ///
    /// # Errors
    /// The batch does not have the rank, number of channels or size that the transform is for.
    #[track_caller]
    fn apply(&self, x: &Tensor, generator: &Generator) -> Result<Tensor>;
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<T: Transform + ?Sized> Transform for $pointer {
            fn apply(&self, x: &Tensor, generator: &Generator) -> Result<Tensor> {
                (**self).apply(x, generator)
            }
        }
    )*};
}
forward!(&T, Arc<T>, Box<T>);

/// A closure as a transform.
///
/// ```
/// # use wgrad::data::transforms::{Lambda, Transform};
/// # use wgrad::{DType, Device, Generator, Tensor};
/// # fn main() -> wgrad::Result<()> {
/// let scale = Lambda(|x: &Tensor, _: &Generator| Ok(x.cast(DType::F32) / 255.0));
/// let bytes = Tensor::from_slice(&[51u8, 255], [2], &Device::cpu()?)?;
/// assert_eq!(scale.apply(&bytes, &Generator::new(0))?.to_vec::<f32>()?, [0.2, 1.0]);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy)]
pub struct Lambda<F>(
    /// The closure.
    pub F,
);

impl<F> fmt::Debug for Lambda<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lambda")
    }
}

impl<F: Fn(&Tensor, &Generator) -> Result<Tensor> + Send + Sync> Transform for Lambda<F> {
    fn apply(&self, x: &Tensor, generator: &Generator) -> Result<Tensor> {
        (self.0)(x, generator)
    }
}

/// Transforms one after the other. No gradient flows. Clones share the steps.
#[derive(Clone, Default)]
pub struct Compose {
    steps: Vec<Arc<dyn Transform>>,
}

impl Compose {
    /// No transform yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a step at the end.
    #[must_use]
    pub fn push(mut self, step: impl Transform + 'static) -> Self {
        self.steps.push(Arc::new(step));
        self
    }
}

impl fmt::Debug for Compose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compose").field("steps", &self.steps.len()).finish()
    }
}

impl Transform for Compose {
    fn apply(&self, x: &Tensor, generator: &Generator) -> Result<Tensor> {
        let caller = Location::caller();
        let one = |x: Tensor, step: &Arc<dyn Transform>| step.apply(&x, generator).map_err(|error| error.seen_from(caller));
        no_grad(|| self.steps.iter().try_fold(x.detach(), one))
    }
}

/// Uniform in 0..1, one number per sample of `x`, with the rank of `x`.
#[track_caller]
pub(super) fn per_sample(x: &Tensor, generator: &Generator) -> Result<Tensor> {
    let mut shape = vec![1; x.shape()?.rank()];
    if let Some(first) = shape.first_mut() {
        *first = x.shape()?[0];
    }
    Tensor::rand(shape, generator, &x.device()?)
}

/// Refuses what is neither a probability nor a share.
#[track_caller]
pub(super) fn need_probability(what: &str, p: f64) -> Result<f64> {
    if (0.0..=1.0).contains(&p) {
        return Ok(p);
    }
    Err(Error::argument(what, format!("{p} was given"), "use a number in 0..=1, such as 0.5"))
}
