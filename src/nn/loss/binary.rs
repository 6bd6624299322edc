//! Losses for yes or no.

use super::common::{Reduction, alike, elementwise, loss, need_positive, one_dtype};
use crate::error::Result;
use crate::tensor::{Fault, Tensor};
use std::panic::Location;

/// The slope that PyTorch gives the loss of a probability of exactly 0 or 1 that should be the other.
const STEEPEST: f64 = 1e12;

/// `-(t·ln p + (1 - t)·ln(1 - p))` of probabilities and targets in 0..=1, of the same shape. At probability 0 and 1 a logarithm
/// counts as -100 and its slope as 1e12, so that loss and gradient stay finite.
///
/// A p outside 0..=1 gives NaN (in PyTorch, an error).
///
/// ```
/// # use wgrad::{Device, Tensor, nn::loss::{Reduction, binary_cross_entropy}};
/// # fn main() -> wgrad::Result<()> {
/// let device = Device::cpu()?;
/// let p = Tensor::from_slice(&[0.0f32, 0.5], [2], &device)?;
/// let t = Tensor::from_slice(&[1.0f32, 1.0], [2], &device)?;
/// let losses = binary_cross_entropy(&p, &t, Reduction::None)?.to_vec::<f32>()?;
/// assert!(losses[0] == 100.0 && (losses[1] - 2f32.ln()).abs() < 1e-6);
/// # Ok(()) }
/// ```
///
/// # Errors
/// The shapes or dtypes differ.
#[track_caller]
pub fn binary_cross_entropy(probability: &Tensor, target: &Tensor, reduction: Reduction) -> Result<Tensor> {
    elementwise("binary_cross_entropy", [probability, target], reduction, Location::caller(), || {
        let p = probability;
        // Devices may flush subnormal numbers: they count as 0.
        let none = p.abs().lt(&p.scalar_like(f64::from(f32::MIN_POSITIVE)));
        let all = p.eq(&p.scalar_like(1.0));
        let end = none.logical_or(&all);
        let safe = end.where_(&p.scalar_like(0.5), p);
        let inside = (target - 1.0) * (-&safe).log1p() - target * safe.log();
        let wrong = none.where_(target, &(1.0 - target));
        // The difference is 0, and has the probability's gradient.
        let rise = (p - p.detach()) * none.where_(&p.scalar_like(-STEEPEST), &p.scalar_like(STEEPEST));
        let rise = end.where_(&rise, &p.scalar_like(0.0));
        Ok(end.where_(&(wrong * (rise + 100.0)), &inside))
    })
}

/// [`binary_cross_entropy`] of `sigmoid(logits)`, stable for large logits: `(1 - t)·x + (1 + (w - 1)·t)·ln(1 + e⁻ˣ)`, with `w`
/// the weight of positive targets, which broadcasts (1 if none is given).
///
/// ```
/// # use wgrad::{Device, Tensor, nn::loss::{Reduction, binary_cross_entropy_with_logits}};
/// # fn main() -> wgrad::Result<()> {
/// # let device = Device::cpu()?;
/// let x = Tensor::from_slice(&[0.0f32, 200.0], [2], &device)?;
/// let t = Tensor::from_slice(&[1.0f32, 0.0], [2], &device)?;
/// let losses = binary_cross_entropy_with_logits(&x, &t, None, Reduction::None)?;
/// assert_eq!(format!("{:.4?}", losses.to_vec::<f32>()?), "[0.6931, 200.0000]");
/// # Ok(()) }
/// ```
///
/// # Errors
/// The shapes or dtypes differ; a weight that does not broadcast to the logits' shape.
#[track_caller]
pub fn binary_cross_entropy_with_logits(
    logits: &Tensor,
    target: &Tensor,
    positive_weight: Option<&Tensor>,
    reduction: Reduction,
) -> Result<Tensor> {
    const NAME: &str = "binary_cross_entropy_with_logits";
    let mut operands = vec![logits, target];
    operands.extend(positive_weight);
    loss(NAME, &operands, Location::caller(), |n| {
        alike(&n[..2])?;
        one_dtype(n)?;
        let softplus = (-logits).softplus();
        let weighted = match positive_weight {
            None => softplus,
            Some(weight) => {
                if n[2].shape.broadcast(&n[0].shape) != Some(n[0].shape) {
                    let reason = format!("the weight {} does not broadcast to the logits", n[2].shape);
                    return Err(Fault::shape(reason, "give one weight, or one per class along the last axis"));
                }
                ((weight - 1.0) * target + 1.0) * softplus
            }
        };
        Ok(reduction.apply(&((1.0 - target) * logits + weighted)))
    })
}

/// The focal loss of `sigmoid(logits)`: `a·(1 - p_t)^gamma·CE`, where CE is the binary cross-entropy, `p_t` the probability of
/// the target (p for 1, 1 - p for 0), and `a` is `alpha` for 1 and `1 - alpha` for 0 (1 if `alpha` is `None`). Usual values are
/// 0.25 for alpha and 2 for gamma. Source: Lin et al., ICCV 2017; torchvision's `sigmoid_focal_loss`.
///
/// ```
/// # use wgrad::{Device, Tensor, nn::loss::{Reduction, focal}};
/// # fn main() -> wgrad::Result<()> {
/// # let device = Device::cpu()?;
/// let x = Tensor::zeros([2], &device)?;
/// let t = Tensor::from_slice(&[1.0f32, 0.0], [2], &device)?;
/// let losses = focal(&x, &t, Some(0.25), 2.0, Reduction::None)?; // a·0.5²·ln 2
/// assert_eq!(format!("{:.4?}", losses.to_vec::<f32>()?), "[0.0433, 0.1300]");
/// # Ok(()) }
/// ```
///
/// # Errors
/// The shapes or dtypes differ; a gamma below 0; an alpha outside 0..=1.
#[track_caller]
pub fn focal(logits: &Tensor, target: &Tensor, alpha: Option<f64>, gamma: f64, reduction: Reduction) -> Result<Tensor> {
    elementwise("focal", [logits, target], reduction, Location::caller(), || {
        let gamma = need_positive("gamma", gamma, true)?;
        if let Some(alpha) = alpha.filter(|a| !(0.0..=1.0).contains(a)) {
            return Err(Fault::attribute(format!("alpha = {alpha} is out of range"), "use 0 <= alpha <= 1"));
        }
        let others = 1.0 - target;
        let entropy = &others * logits + (-logits).softplus();
        // 1 - p_t, without cancellation; not below what devices can represent, for the power's gradient.
        let missed = &others * logits.sigmoid() + target * (-logits).sigmoid();
        let missed = missed.maximum(&missed.scalar_like(f64::from(f32::MIN_POSITIVE)));
        let focused = entropy * missed.powf(gamma);
        Ok(match alpha {
            None => focused,
            Some(alpha) => (target * alpha + others * (1.0 - alpha)) * focused,
        })
    })
}

/// `max(0, 1 - t·x)` of scores and targets of 1 or -1, of the same shape.
///
/// ```
/// # use wgrad::{Device, Tensor, nn::loss::{Reduction, hinge}};
/// # fn main() -> wgrad::Result<()> {
/// # let device = Device::cpu()?;
/// let x = Tensor::from_slice(&[0.5f32, 2.0, 1.0], [3], &device)?;
/// let t = Tensor::from_slice(&[1.0f32, 1.0, -1.0], [3], &device)?;
/// assert_eq!(hinge(&x, &t, Reduction::None)?.to_vec::<f32>()?, [0.5, 0.0, 2.0]);
/// # Ok(()) }
/// ```
///
/// # Errors
/// The shapes or dtypes differ.
#[track_caller]
pub fn hinge(prediction: &Tensor, target: &Tensor, reduction: Reduction) -> Result<Tensor> {
    let rule = || Ok((1.0 - target * prediction).relu());
    elementwise("hinge", [prediction, target], reduction, Location::caller(), rule)
}
