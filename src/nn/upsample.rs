//! Layers that change the size of images without parameters.

use super::module::Module;
use super::summary::observe;
use crate::error::{Error, Result, counted};
use crate::fields;
use crate::shape::product;
use crate::tensor::{Interpolation, Tensor};

/// [`Tensor::interpolate`] of `[n, c, ..]` by a whole factor, or to a size.
#[derive(Debug, Clone)]
#[must_use = "a layer computes nothing until its forward is called"]
pub struct Upsample {
    target: Target,
    mode: Interpolation,
}

#[derive(Debug, Clone)]
enum Target {
    Factor(usize),
    Size(Vec<usize>),
}

impl Upsample {
    /// Multiplies every length after the first two by `factor`, with nearest neighbours.
    pub fn new(factor: usize) -> Self {
        Self::with(factor, Interpolation::Nearest)
    }

    /// Multiplies every length after the first two by `factor`, with another interpolation.
    pub fn with(factor: usize, mode: Interpolation) -> Self {
        Self { target: Target::Factor(factor), mode }
    }

    /// Resizes to `size`, one length per axis after the first two.
    pub fn to(size: &[usize], mode: Interpolation) -> Self {
        Self { target: Target::Size(size.to_vec()), mode }
    }
}

impl Module for Upsample {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let size = match &self.target {
            Target::Factor(factor) => x.shape()?.iter().skip(2).map(|len| len.saturating_mul(*factor)).collect(),
            Target::Size(size) => size.clone(),
        };
        observe(self, "Upsample", x.interpolate(&size, self.mode))
    }
    fields!(; skip target, mode);
}

/// Channels to pixels: `[n, c·r², h, w]` to `[n, c, h·r, w·r]`.
///
/// Source: W. Shi et al., "Real-time single image and video super-resolution", 2016.
#[derive(Debug, Clone, Copy)]
#[must_use = "a layer computes nothing until its forward is called"]
pub struct PixelShuffle {
    factor: usize,
}

impl PixelShuffle {
    /// A layer with this factor along both axes.
    pub fn new(factor: usize) -> Self {
        Self { factor }
    }
}

/// Pixels to channels, the inverse of [`PixelShuffle`]: `[n, c, h·r, w·r]` to `[n, c·r², h, w]`.
#[derive(Debug, Clone, Copy)]
#[must_use = "a layer computes nothing until its forward is called"]
pub struct PixelUnshuffle {
    factor: usize,
}

impl PixelUnshuffle {
    /// A layer with this factor along both axes.
    pub fn new(factor: usize) -> Self {
        Self { factor }
    }
}

impl Module for PixelShuffle {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (r, [n, c, h, w]) = (self.factor, x.dims::<4>()?);
        let squared = r.saturating_mul(r);
        if r == 0 || !c.is_multiple_of(squared) {
            let reason = format!("the input {} has {}, not a multiple of {r}²", x.shape()?, counted(c, "channel"));
            return Err(Error::argument("PixelShuffle", reason, "give [n, c·r², h, w]"));
        }
        let split = x.reshape([n, c / squared, r, r, h, w]).permute(&[0, 1, 4, 2, 5, 3]);
        observe(self, "PixelShuffle", split.reshape([n, c / squared, product(&[h, r]), product(&[w, r])]))
    }
    fields!(; skip factor);
}

impl Module for PixelUnshuffle {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (r, [n, c, h, w]) = (self.factor, x.dims::<4>()?);
        if r == 0 || !h.is_multiple_of(r) || !w.is_multiple_of(r) {
            let reason = format!("images of {h} x {w} do not divide by {r}");
            return Err(Error::argument("PixelUnshuffle", reason, "give [n, c, h·r, w·r]"));
        }
        let split = x.reshape([n, c, h / r, r, w / r, r]).permute(&[0, 1, 3, 5, 2, 4]);
        observe(self, "PixelUnshuffle", split.reshape([n, product(&[c, r, r]), h / r, w / r]))
    }
    fields!(; skip factor);
}
