//! Augmentations of sounds `[n, length]` and spectrograms `[n, bands, frames]`, with a draw of its own for each.

use super::transform::{Transform, per_sample};
use crate::dtype::DType;
use crate::error::Result;
use crate::rng::Generator;
use crate::tensor::Tensor;

/// Moves each sound along time by up to `limit` samples in both directions; silence moves in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeShift {
    /// The largest shift, in samples.
    pub limit: usize,
}

impl Transform for TimeShift {
    #[track_caller]
    fn apply(&self, x: &Tensor, generator: &Generator) -> Result<Tensor> {
        let [n, length] = x.dims::<2>()?;
        let padded = x.pad(&[(0, 0), (self.limit, self.limit)]);
        padded.check()?;
        let span = 2 * self.limit;
        let first = (per_sample(x, generator)? * (span + 1) as f64).cast(DType::I32).clamp(0.0, span as f64);
        let index = first + Tensor::iota(length, DType::I32, &x.device()?)?.reshape([1, length]);
        Ok(padded.gather_within(1, &index.expand([n, length])))
    }
}

/// Sets a band of 0 to `width` frames of each spectrogram to the spectrogram's mean.
///
/// Source: D. Park et al., "SpecAugment", 2019.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeMasking {
    width: usize,
}

/// Sets a band of 0 to `width` mel bands of each spectrogram to the spectrogram's mean.
///
/// Source: D. Park et al., "SpecAugment", 2019.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrequencyMasking {
    width: usize,
}

impl TimeMasking {
    /// Masks up to `width` frames.
    pub fn new(width: usize) -> Self {
        Self { width }
    }
}

impl FrequencyMasking {
    /// Masks up to `width` mel bands.
    pub fn new(width: usize) -> Self {
        Self { width }
    }
}

impl Transform for TimeMasking {
    fn apply(&self, x: &Tensor, generator: &Generator) -> Result<Tensor> {
        mask(x, 2, self.width, generator)
    }
}

impl Transform for FrequencyMasking {
    fn apply(&self, x: &Tensor, generator: &Generator) -> Result<Tensor> {
        mask(x, 1, self.width, generator)
    }
}

/// Hides up to `width` places along an axis, the same for all places along the other axis.
#[track_caller]
fn mask(x: &Tensor, axis: usize, width: usize, generator: &Generator) -> Result<Tensor> {
    let len = x.dims::<3>()?[axis];
    let most = width.min(len) as f64;
    let width = (per_sample(x, generator)? * (most + 1.0)).floor().clamp(0.0, most);
    let first = (per_sample(x, generator)? * (width.full_like(len as f64 + 1.0) - &width)).floor();
    let mut shape = [1; 3];
    shape[axis] = len;
    let at = Tensor::iota(len, DType::F32, &x.device()?)?.reshape(shape) - first;
    let hidden = at.ge(&at.full_like(0.0)).logical_and(&at.lt(&width));
    Ok(hidden.where_(&x.mean_keepdim([1, 2]).broadcast_to(x.shape()?), x))
}
