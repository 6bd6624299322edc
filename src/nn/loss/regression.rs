//! Losses for numbers, and for distributions given element by element.

use super::common::{Reduction, elementwise, need_positive};
use crate::error::Result;
use crate::tensor::Tensor;
use std::panic::Location;

/// Squared error `(prediction - target)²` of two tensors of the same shape.
///
/// ```
/// # use wgrad::{Device, Tensor, nn::loss::{Reduction, mse}};
/// # fn main() -> wgrad::Result<()> {
/// # let device = Device::cpu()?;
/// let x = Tensor::from_slice(&[1.0f32, 2.0], [2], &device)?;
/// let t = Tensor::from_slice(&[1.0f32, 4.0], [2], &device)?;
/// assert_eq!(mse(&x, &t, Reduction::Mean)?.item()?, 2.0);
/// # Ok(()) }
/// ```
///
/// # Errors
/// The shapes or dtypes differ.
#[track_caller]
pub fn mse(prediction: &Tensor, target: &Tensor, reduction: Reduction) -> Result<Tensor> {
    elementwise("mse", [prediction, target], reduction, Location::caller(), || Ok((prediction - target).square()))
}

/// # Squared error
impl Tensor {
    /// The mean squared error against a target of the same shape, like PyTorch's `F.mse_loss`: the mean of `(self - target)²`.
    /// [`mse`] reduces in other ways.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 2.0], [2], &device)?;
    /// let t = Tensor::from_slice(&[1.0f32, 4.0], [2], &device)?;
    /// assert_eq!(x.mse(&t).item()?, 2.0);
    /// assert!(x.mse(&t.unsqueeze(1)).item().is_err()); // [2] and [2, 1] would broadcast to [2, 2]
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn mse(&self, target: &Self) -> Self {
        mse(self, target, Reduction::Mean).unwrap_or_else(Self::from_error)
    }
}

/// Absolute error `|prediction - target|` of two tensors of the same shape; the gradient at 0 is 0.
///
/// ```
/// # use wgrad::{Device, Tensor, nn::loss::{Reduction, l1}};
/// # fn main() -> wgrad::Result<()> {
/// # let device = Device::cpu()?;
/// let x = Tensor::from_slice(&[1.0f32, 2.0], [2], &device)?;
/// let t = Tensor::from_slice(&[3.0f32, 1.0], [2], &device)?;
/// assert_eq!(l1(&x, &t, Reduction::Sum)?.item()?, 3.0);
/// # Ok(()) }
/// ```
///
/// # Errors
/// The shapes or dtypes differ.
#[track_caller]
pub fn l1(prediction: &Tensor, target: &Tensor, reduction: Reduction) -> Result<Tensor> {
    elementwise("l1", [prediction, target], reduction, Location::caller(), || Ok((prediction - target).abs()))
}

/// With `d = |prediction - target|`: `d²/2` up to `delta`, `delta·(d - delta/2)` beyond. PyTorch's default delta is 1.
///
/// ```
/// # use wgrad::{Device, Tensor, nn::loss::{Reduction, huber}};
/// # fn main() -> wgrad::Result<()> {
/// # let device = Device::cpu()?;
/// let x = Tensor::from_slice(&[0.5f32, -3.0], [2], &device)?;
/// let losses = huber(&x, &x.zeros_like(), 1.0, Reduction::None)?;
/// assert_eq!(losses.to_vec::<f32>()?, [0.125, 2.5]);
/// # Ok(()) }
/// ```
///
/// # Errors
/// The shapes or dtypes differ; a delta that is not above 0.
#[track_caller]
pub fn huber(prediction: &Tensor, target: &Tensor, delta: f64, reduction: Reduction) -> Result<Tensor> {
    elementwise("huber", [prediction, target], reduction, Location::caller(), || {
        let delta = need_positive("delta", delta, false)?;
        let d = (prediction - target).abs();
        let near = d.minimum(&d.scalar_like(delta));
        Ok(&near * (&d - &near * 0.5))
    })
}

/// With `d = |prediction - target|`: `d²/(2·beta)` up to `beta`, `d - beta/2` beyond; [`l1`] for a beta of 0. PyTorch's
/// default beta is 1.
///
/// ```
/// # use wgrad::{Device, Tensor, nn::loss::{Reduction, smooth_l1}};
/// # fn main() -> wgrad::Result<()> {
/// # let device = Device::cpu()?;
/// let x = Tensor::from_slice(&[1.0f32, 3.0], [2], &device)?;
/// let losses = smooth_l1(&x, &x.zeros_like(), 2.0, Reduction::None)?;
/// assert_eq!(losses.to_vec::<f32>()?, [0.25, 2.0]);
/// # Ok(()) }
/// ```
///
/// # Errors
/// The shapes or dtypes differ; a beta below 0.
#[track_caller]
pub fn smooth_l1(prediction: &Tensor, target: &Tensor, beta: f64, reduction: Reduction) -> Result<Tensor> {
    elementwise("smooth_l1", [prediction, target], reduction, Location::caller(), || {
        let beta = need_positive("beta", beta, true)?;
        let d = (prediction - target).abs();
        if beta == 0.0 {
            return Ok(d);
        }
        let near = (&d * (1.0 / beta)).minimum(&d.scalar_like(1.0));
        Ok(&near * (&d - &near * (beta * 0.5)))
    })
}

/// Options of [`kl_div_with`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KlDivOptions {
    /// Whether the target is given as logarithms. Defaults to false.
    pub log_target: bool,
    /// Defaults to the mean.
    pub reduction: Reduction,
}

/// The Kullback-Leibler divergence's terms `target·(ln target - log_prediction)`; a target of 0 contributes 0. The usual
/// divergence is the sum, divided by the number of distributions (PyTorch's `batchmean`); `Reduction::Mean` divides by the number
/// of elements.
///
/// ```
/// # use wgrad::{Device, Tensor, nn::loss::{Reduction, kl_div}};
/// # fn main() -> wgrad::Result<()> {
/// # let device = Device::cpu()?;
/// let q = Tensor::full([1, 2], 0.5, &device)?;
/// let p = Tensor::from_slice(&[1.0f32, 0.0], [1, 2], &device)?;
/// let divergence = kl_div(&q.log(), &p, Reduction::Sum)?; // 1·ln(1 / 0.5) + 0
/// assert!((divergence.item()? - 2f64.ln()).abs() < 1e-6);
/// # Ok(()) }
/// ```
///
/// # Errors
/// The shapes or dtypes differ.
#[track_caller]
pub fn kl_div(log_prediction: &Tensor, target: &Tensor, reduction: Reduction) -> Result<Tensor> {
    kl_div_with(log_prediction, target, KlDivOptions { reduction, ..KlDivOptions::default() })
}

/// [`kl_div`] of a target that may be given as logarithms: the terms are then `exp(target)·(target - log_prediction)`.
///
/// ```
/// # use wgrad::{Device, Tensor, nn::loss::{KlDivOptions, Reduction, kl_div_with}};
/// # fn main() -> wgrad::Result<()> {
/// # let device = Device::cpu()?;
/// let (q, p) = (Tensor::full([1, 2], 0.5, &device)?, Tensor::from_slice(&[1.0f32, 0.5], [1, 2], &device)?);
/// let options = KlDivOptions { log_target: true, reduction: Reduction::Sum };
/// let divergence = kl_div_with(&q.log(), &p.log(), options)?; // 1·ln(1 / 0.5) + 0.5·ln(0.5 / 0.5)
/// assert!((divergence.item()? - 2f64.ln()).abs() < 1e-6);
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`kl_div`].
#[track_caller]
pub fn kl_div_with(log_prediction: &Tensor, target: &Tensor, options: KlDivOptions) -> Result<Tensor> {
    elementwise("kl_div", [log_prediction, target], options.reduction, Location::caller(), || {
        if options.log_target {
            return Ok(target.exp() * (target - log_prediction));
        }
        let zero = target.scalar_like(0.0);
        let none = target.eq(&zero);
        let entropy = none.where_(&target.scalar_like(1.0), target).log() * target;
        Ok(none.where_(&zero, &entropy) - target * log_prediction)
    })
}
