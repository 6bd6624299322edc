//! Statistics over axes: deviations, norms, counts, and sums of exponentials.

use super::reduce::{VarOptions, drop_axes, reductions, resolve};
use super::{At, Fault, Tensor, need_float};
use crate::dtype::DType;
use crate::shape::{IntoAxes, Shape};
use std::panic::Location;

/// What shorter vectors are divided by when they are normalised.
const SHORTEST: f64 = 1e-12;

reductions! {
    /// The standard deviation: `√(Σ(x - mean)² / (count - 1))`. The gradient is 0 where the deviation is 0.
    /// [`std_with`](Self::std_with) divides by another count.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let x = Tensor::from_slice(&[1.0f32, 3.0, 3.0, 3.0], [2, 2], &Device::cpu()?)?;
    /// assert_eq!((x.std().item()?, x.std_dim(0).to_vec::<f32>()?[1]), (1.0, 0.0));
    /// # Ok(()) }
    /// ```
    std(), std_dim, std_keepdim => deviations;

    /// Bool: any element is other than 0 (NaN is); false for none.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[0.0f32, 0.0, 0.0, 2.0], [2, 2], &device)?;
    /// assert_eq!(x.any().to_vec::<bool>()?, [true]);
    /// assert_eq!(x.any_dim(1).to_vec::<bool>()?, [false, true]);
    /// # Ok(()) }
    /// ```
    any(), any_dim, any_keepdim => some;

    /// Bool: no element is 0; true for none.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 0.0, 3.0, 2.0], [2, 2], &device)?;
    /// assert_eq!(x.all().to_vec::<bool>()?, [false]);
    /// assert_eq!(x.all_dim(1).to_vec::<bool>()?, [false, true]);
    /// # Ok(()) }
    /// ```
    all(), all_dim, all_keepdim => every;

    /// I32: how many elements are other than 0.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[0.0f32, f32::NAN, 0.0, 2.0], [4], &device)?;
    /// assert_eq!(x.count_nonzero().item()?, 2.0);
    /// # Ok(()) }
    /// ```
    count_nonzero(), count_nonzero_dim, count_nonzero_keepdim => counts;

    /// `ln Σ eˣ`, stable; -∞ for none, and for only -∞ (there with gradient 0), ∞ if any is ∞.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1000.0f32, 1000.0], [2], &device)?;
    /// assert!((x.logsumexp().item()? - (1000.0 + 2f64.ln())).abs() < 1e-3);
    /// # Ok(()) }
    /// ```
    logsumexp(), logsumexp_dim, logsumexp_keepdim => logs;

    /// The p-norm: `(Σ |x|ᵖ)^(1/p)` for p above 0, the largest `|x|` for p = ∞, and the number of elements other than 0 for p = 0
    /// (whose gradient is 0). The gradient with respect to elements that are 0, and that of a norm that is 0, is 0.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[3.0f32, -4.0], [2], &device)?;
    /// assert_eq!((x.norm(2.0).item()?, x.norm(1.0).item()?, x.norm(f64::INFINITY).item()?), (5.0, 7.0, 4.0));
    /// # Ok(()) }
    /// ```
    norm(p: f64), norm_dim, norm_keepdim => norms;
}

/// # Deviation with options, normalising
impl Tensor {
    /// The standard deviation over `axes` (`()` for all): `√(Σ(x - mean)² / (count - correction))`.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor, VarOptions};
    /// # fn main() -> wgrad::Result<()> {
    /// let x = Tensor::from_slice(&[1.0f32, 3.0, 3.0, 3.0], [2, 2], &Device::cpu()?)?;
    /// assert_eq!(x.std_with(1, VarOptions { correction: 0, keepdim: true }).to_vec::<f32>()?, [1.0, 0.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn std_with(&self, axes: impl IntoAxes, options: VarOptions) -> Self {
        self.deviation(axes.into_axes(), options, Location::caller())
    }

    /// `x / max(‖x‖ₚ, 1e-12)`, the norm over `axes` (`()` for all): vectors along an axis get length 1, and those of zeros stay
    /// as they are.
    ///
    /// Source: [PyTorch](https://pytorch.org/docs/stable/generated/torch.nn.functional.normalize.html).
    /// [`standardize`](Self::standardize) subtracts a mean and divides by a deviation.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let x = Tensor::from_slice(&[3.0f32, 4.0, 0.0, 0.0], [2, 2], &Device::cpu()?)?;
    /// assert_eq!(format!("{:.4?}", x.normalize(2.0, 1).to_vec::<f32>()?), "[0.6000, 0.8000, 0.0000, 0.0000]");
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn normalize(&self, p: f64, axes: impl IntoAxes) -> Self {
        let (at, axes) = (Location::caller(), axes.into_axes());
        Self::guard("normalize", &[self], at, |n| {
            need_float(n[0])?;
            need_order(p)?;
            resolve(&n[0].shape, axes.as_deref())?;
            Ok(self / self.norms(p, axes, true, at).maximum(SHORTEST))
        })
    }

    fn deviations(&self, axes: Option<Vec<isize>>, keepdim: bool, at: At) -> Self {
        self.deviation(axes, VarOptions { keepdim, ..VarOptions::default() }, at)
    }

    fn deviation(&self, axes: Option<Vec<isize>>, options: VarOptions, at: At) -> Self {
        Self::guard("std", &[self], at, |n| {
            need_float(n[0])?;
            resolve(&n[0].shape, axes.as_deref())?;
            Ok(self.variance(axes, options, at).root())
        })
    }

    fn some(&self, axes: Option<Vec<isize>>, keepdim: bool, at: At) -> Self {
        Self::guard("any", &[self], at, |n| {
            resolve(&n[0].shape, axes.as_deref())?;
            let count = count(&self.cast(DType::Bool), axes, keepdim, at);
            Ok(count.ne(&count.scalar_like(0.0)))
        })
    }

    fn every(&self, axes: Option<Vec<isize>>, keepdim: bool, at: At) -> Self {
        Self::guard("all", &[self], at, |n| {
            resolve(&n[0].shape, axes.as_deref())?;
            let zeros = count(&self.cast(DType::Bool).logical_not(), axes, keepdim, at);
            Ok(zeros.eq(&zeros.scalar_like(0.0)))
        })
    }

    fn counts(&self, axes: Option<Vec<isize>>, keepdim: bool, at: At) -> Self {
        Self::guard("count_nonzero", &[self], at, |n| {
            resolve(&n[0].shape, axes.as_deref())?;
            Ok(count(&self.cast(DType::Bool), axes, keepdim, at))
        })
    }

    fn logs(&self, axes: Option<Vec<isize>>, keepdim: bool, at: At) -> Self {
        Self::guard("logsumexp", &[self], at, |n| {
            need_float(n[0])?;
            let shape = n[0].shape;
            let resolved = resolve(&shape, axes.as_deref())?;
            let axes = listed(&shape, axes)?;
            let zero = self.scalar_like(0.0);
            let shift = if resolved.iter().any(|&d| shape[d] == 0) { zero.clone() } else { self.detach().max_keepdim(&axes) };
            // An infinite shift would make ∞ - ∞ of what needs none.
            let shift = shift.is_finite().where_(&shift, &zero);
            let sum = (self - &shift).exp().sum_keepdim(&axes);
            let none = sum.eq(&zero);
            let log = none.where_(&self.scalar_like(1.0), &sum).log() + shift;
            let out = none.where_(&self.scalar_like(f64::NEG_INFINITY), &log);
            Ok(if keepdim { out } else { out.reshape(drop_axes(&shape, &resolved)) })
        })
    }

    fn norms(&self, p: f64, axes: Option<Vec<isize>>, keepdim: bool, at: At) -> Self {
        Self::guard("norm", &[self], at, |n| {
            need_float(n[0])?;
            need_order(p)?;
            let shape = n[0].shape;
            let resolved = resolve(&shape, axes.as_deref())?;
            let empty = resolved.iter().any(|&d| shape[d] == 0);
            if p == f64::INFINITY && empty {
                return Err(Fault::shape(
                    "no element to choose from along an axis of length 0",
                    "reduce over axes with elements",
                ));
            }
            let axes = listed(&shape, axes)?;
            let norm = if p == 0.0 {
                self.occupied().sum_keepdim(&axes)
            } else if p == 1.0 {
                self.abs().sum_keepdim(&axes)
            } else if p == f64::INFINITY {
                self.abs().max_keepdim(&axes)
            } else {
                // In units of the largest magnitude, so that no power overflows or vanishes; the norm does not depend on them.
                let unit = if empty { self.scalar_like(1.0) } else { self.detach().abs().max_keepdim(&axes).as_unit() };
                let power = |x: &Self, e: f64| x.unless_zero(|x| x.powf(e));
                let norm = if p == 2.0 {
                    (self / &unit).square().sum_keepdim(&axes).root()
                } else {
                    power(&power(&(self / &unit).abs(), p).sum_keepdim(&axes), 1.0 / p)
                };
                norm * unit
            };
            Ok(if keepdim { norm } else { norm.reshape(drop_axes(&shape, &resolved)) })
        })
    }

    /// 1 where x is other than 0 (NaN is), else 0; the gradient is 0.
    fn occupied(&self) -> Self {
        self.is_nan().where_(&self.scalar_like(1.0), &self.abs().sign())
    }

    /// `√x`, with gradient 0 at 0.
    fn root(&self) -> Self {
        self.unless_zero(Self::sqrt)
    }

    /// Magnitudes as units to divide by: 1 for what is 0, infinite or NaN.
    pub(crate) fn as_unit(&self) -> Self {
        self.is_finite().logical_and(&self.ne(&self.scalar_like(0.0))).where_(self, &self.scalar_like(1.0))
    }

    /// `f(x)`, but 0 with gradient 0 where x is 0.
    fn unless_zero(&self, f: impl FnOnce(&Self) -> Self) -> Self {
        let zero = self.eq(&self.scalar_like(0.0));
        zero.where_(&self.scalar_like(0.0), &f(&zero.where_(&self.scalar_like(1.0), self)))
    }
}

fn need_order(p: f64) -> Result<(), Fault> {
    if p.is_nan() || p < 0.0 {
        return Err(Fault::attribute(format!("p = {p} is not the order of a norm"), "use p >= 0"));
    }
    Ok(())
}

/// I32: how many are true.
fn count(truths: &Tensor, axes: Option<Vec<isize>>, keepdim: bool, at: At) -> Tensor {
    truths.cast(DType::I32).sums(axes, keepdim, at)
}

/// The axes, checked; all of them for `None`.
fn listed(shape: &Shape, axes: Option<Vec<isize>>) -> Result<Vec<isize>, Fault> {
    Ok(resolve(shape, axes.as_deref())?.into_iter().map(|d| d as isize).collect())
}
