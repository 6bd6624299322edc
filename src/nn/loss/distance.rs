//! Losses of pairs and triples: what belongs together, or which is larger.

use super::common::{Reduction, alike, elementwise, loss, need_positive, one_dtype};
use crate::error::Result;
use crate::tensor::{Fault, Tensor};
use std::panic::Location;

/// For distances `x` and targets 1 (similar) or -1: `x` for 1, `max(0, margin - x)` for -1. PyTorch's default margin is 1.
///
/// ```
/// # use wgrad::{Device, Tensor, nn::loss::{Reduction, hinge_embedding}};
/// # fn main() -> wgrad::Result<()> {
/// # let device = Device::cpu()?;
/// let x = Tensor::from_slice(&[0.25f32, 0.25, 4.0], [3], &device)?;
/// let t = Tensor::from_slice(&[1.0f32, -1.0, -1.0], [3], &device)?;
/// assert_eq!(hinge_embedding(&x, &t, 1.0, Reduction::None)?.to_vec::<f32>()?, [0.25, 0.75, 0.0]);
/// # Ok(()) }
/// ```
///
/// # Errors
/// The shapes or dtypes differ.
#[track_caller]
pub fn hinge_embedding(distance: &Tensor, target: &Tensor, margin: f64, reduction: Reduction) -> Result<Tensor> {
    elementwise("hinge_embedding", [distance, target], reduction, Location::caller(), || {
        let zero = target.scalar_like(0.0);
        let apart = target.eq(&target.scalar_like(1.0)).where_(&zero, &(margin - distance).relu());
        Ok(apart + target.eq(&target.scalar_like(-1.0)).where_(&zero, distance))
    })
}

/// `max(0, margin - t·(a - b))`, with targets of 1 where `a` should be the larger and -1 where `b` should; all of the same shape.
/// PyTorch's default margin is 0.
///
/// ```
/// # use wgrad::{Device, Tensor, nn::loss::{Reduction, margin_ranking}};
/// # fn main() -> wgrad::Result<()> {
/// # let device = Device::cpu()?;
/// let a = Tensor::from_slice(&[3.0f32, 1.0], [2], &device)?;
/// let b = Tensor::from_slice(&[1.0f32, 3.0], [2], &device)?;
/// let losses = margin_ranking(&a, &b, &a.ones_like(), 0.5, Reduction::None)?;
/// assert_eq!(losses.to_vec::<f32>()?, [0.0, 2.5]);
/// # Ok(()) }
/// ```
///
/// # Errors
/// The shapes or dtypes differ.
#[track_caller]
pub fn margin_ranking(a: &Tensor, b: &Tensor, target: &Tensor, margin: f64, reduction: Reduction) -> Result<Tensor> {
    loss("margin_ranking", &[a, b, target], Location::caller(), |n| {
        alike(n)?;
        Ok(reduction.apply(&(margin - target * (a - b)).relu()))
    })
}

/// Options of [`triplet_margin`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TripletOptions {
    /// How much farther the negative should be. Defaults to 1.
    pub margin: f64,
    /// The order of the norm. Defaults to 2.
    pub p: f64,
    /// Added to every difference, so that the norm has a gradient. Defaults to 1e-6.
    pub eps: f64,
    /// Also take the distance from positive to negative, if smaller. Defaults to false.
    pub swap: bool,
    /// Defaults to the mean.
    pub reduction: Reduction,
}

impl Default for TripletOptions {
    fn default() -> Self {
        Self { margin: 1.0, p: 2.0, eps: 1e-6, swap: false, reduction: Reduction::Mean }
    }
}

/// `max(0, |anchor - positive| - |anchor - negative| + margin)` of vectors along the last axis: all `[.., d]`, one loss each.
///
/// ```
/// # use wgrad::{Device, Tensor, nn::loss::{TripletOptions, triplet_margin}};
/// # fn main() -> wgrad::Result<()> {
/// let device = Device::cpu()?;
/// let at = |x: f32| Tensor::from_slice(&[x, 0.0], [1, 2], &device);
/// let loss = triplet_margin(&at(0.0)?, &at(3.0)?, &at(1.0)?, TripletOptions::default())?;
/// assert!((loss.item()? - 3.0).abs() < 1e-5);
/// # Ok(()) }
/// ```
///
/// # Errors
/// The shapes or dtypes differ; scalars; a margin or p that is not above 0.
#[track_caller]
pub fn triplet_margin(anchor: &Tensor, positive: &Tensor, negative: &Tensor, options: TripletOptions) -> Result<Tensor> {
    loss("triplet_margin", &[anchor, positive, negative], Location::caller(), |n| {
        alike(n)?;
        if n[0].shape.rank() == 0 {
            return Err(Fault::shape("scalars are not vectors", "use [.., d]"));
        }
        let margin = need_positive("margin", options.margin, false)?;
        let p = need_positive("p", options.p, false)?;
        let between = |a: &Tensor, b: &Tensor| (a - b + options.eps).norm_dim(p, -1);
        let far = between(anchor, negative);
        let far = if options.swap { far.minimum(&between(positive, negative)) } else { far };
        Ok(options.reduction.apply(&(between(anchor, positive) - far + margin).relu()))
    })
}

/// `1 - cos` for targets of 1, `max(0, cos - margin)` for -1, with the cosine of vectors along the last axis: `[n, d]`,
/// `[n, d]` and `[n]`, or `[d]`, `[d]` and a scalar. `cos = Σ a·b / √((Σ a² + 1e-12)·(Σ b² + 1e-12))`. PyTorch's default
/// margin is 0.
///
/// ```
/// # use wgrad::{Device, Tensor, nn::loss::{Reduction, cosine_embedding}};
/// # fn main() -> wgrad::Result<()> {
/// # let device = Device::cpu()?;
/// let a = Tensor::from_slice(&[1.0f32, 0.0, 1.0, 0.0], [2, 2], &device)?;
/// let b = Tensor::from_slice(&[0.0f32, 2.0, 2.0, 0.0], [2, 2], &device)?;
/// let t = Tensor::from_slice(&[1.0f32, -1.0], [2], &device)?;
/// let losses = cosine_embedding(&a, &b, &t, 0.25, Reduction::None)?;
/// assert_eq!(format!("{:.4?}", losses.to_vec::<f32>()?), "[1.0000, 0.7500]");
/// # Ok(()) }
/// ```
///
/// # Errors
/// Shapes or dtypes that do not fit.
#[track_caller]
pub fn cosine_embedding(a: &Tensor, b: &Tensor, target: &Tensor, margin: f64, reduction: Reduction) -> Result<Tensor> {
    loss("cosine_embedding", &[a, b, target], Location::caller(), |n| {
        alike(&n[..2])?;
        one_dtype(n)?;
        let (vectors, targets) = (n[0].shape, n[2].shape);
        if vectors.rank() == 0 || targets.dims() != &vectors[..vectors.rank() - 1] {
            return Err(Fault::shape("the target must have one element per vector", "use [n, d], [n, d] and [n]"));
        }
        let length = |x: &Tensor| (x.square().sum_dim(-1) + 1e-12).sqrt();
        let cosine = (a * b).sum_dim(-1) / (length(a) * length(b));
        let zero = target.scalar_like(0.0);
        let together = target.eq(&target.scalar_like(1.0)).where_(&(1.0 - &cosine), &zero);
        let apart = target.eq(&target.scalar_like(-1.0)).where_(&(cosine - margin).relu(), &zero);
        Ok(reduction.apply(&(together + apart)))
    })
}
