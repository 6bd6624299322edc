//! Statistics over axes: deviations, norms, counts, and sums of exponentials.

use super::reduce::{drop_axes, resolve};
use super::{Fault, Tensor, need_float};
use crate::dtype::DType;
use crate::shape::{IntoAxes, Shape};
use std::panic::Location;

impl Tensor {
    /// The standard deviation over `axes`: `√(Σ(x - mean)² / (count - correction))`; a correction of 1 is the usual one. The
    /// gradient is 0 where the deviation is 0.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let x = Tensor::from_slice(&[1.0f32, 3.0, 3.0, 3.0], [2, 2], &Device::cpu()?)?;
    /// assert_eq!(x.std(1, 0, false).to_vec::<f32>()?, [1.0, 0.0]);
    /// assert_eq!(x.norm(1.0, 0, false).to_vec::<f32>()?, [4.0, 6.0]);
    /// assert_eq!(x.gt(&x.full_like(2.0)).all(1, false).to_vec::<bool>()?, [false, true]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn std(&self, axes: impl IntoAxes, correction: usize, keepdim: bool) -> Self {
        let axes = axes.into_axes();
        Self::guard("std", &[self], Location::caller(), |n| {
            need_float(n[0])?;
            Ok(self.var(&listed(&n[0].shape, axes)?, correction, keepdim).root())
        })
    }

    /// Bool: any element over `axes` is other than 0 (NaN is); false for none.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[0.0f32, 0.0, 0.0, 2.0], [2, 2], &device)?;
    /// assert_eq!(x.any(1, false).to_vec::<bool>()?, [false, true]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn any(&self, axes: impl IntoAxes, keepdim: bool) -> Self {
        let axes = axes.into_axes();
        Self::guard("any", &[self], Location::caller(), |n| {
            let count = count(&self.cast(DType::Bool), &listed(&n[0].shape, axes)?, keepdim);
            Ok(count.ne(&count.scalar_like(0.0)))
        })
    }

    /// Bool: no element over `axes` is 0; true for none.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 0.0, 3.0, 2.0], [2, 2], &device)?;
    /// assert_eq!(x.all(1, false).to_vec::<bool>()?, [false, true]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn all(&self, axes: impl IntoAxes, keepdim: bool) -> Self {
        let axes = axes.into_axes();
        Self::guard("all", &[self], Location::caller(), |n| {
            let zeros = count(&self.cast(DType::Bool).logical_not(), &listed(&n[0].shape, axes)?, keepdim);
            Ok(zeros.eq(&zeros.scalar_like(0.0)))
        })
    }

    /// I32: how many elements over `axes` are other than 0.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[0.0f32, f32::NAN, 0.0, 2.0], [4], &device)?;
    /// assert_eq!(x.count_nonzero((), false).item()?, 2.0);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn count_nonzero(&self, axes: impl IntoAxes, keepdim: bool) -> Self {
        let axes = axes.into_axes();
        Self::guard("count_nonzero", &[self], Location::caller(), |n| {
            Ok(count(&self.cast(DType::Bool), &listed(&n[0].shape, axes)?, keepdim))
        })
    }

    /// `ln Σ eˣ` over `axes`, stable; -∞ for none, and for only -∞ (there with gradient 0), ∞ if any is ∞.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1000.0f32, 1000.0], [2], &device)?;
    /// assert!((x.logsumexp(0, false).item()? - (1000.0 + 2f64.ln())).abs() < 1e-3);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn logsumexp(&self, axes: impl IntoAxes, keepdim: bool) -> Self {
        let axes = axes.into_axes();
        Self::guard("logsumexp", &[self], Location::caller(), |n| {
            need_float(n[0])?;
            let shape = n[0].shape;
            let resolved = resolve(&shape, axes.as_deref())?;
            let axes = listed(&shape, axes)?;
            let zero = self.scalar_like(0.0);
            let shift = if resolved.iter().any(|&d| shape[d] == 0) { zero.clone() } else { self.detach().max(&axes, true) };
            // An infinite shift would make ∞ - ∞ of what needs none.
            let shift = shift.is_finite().where_(&shift, &zero);
            let sum = (self - &shift).exp().sum(&axes, true);
            let none = sum.eq(&zero);
            let log = none.where_(&self.scalar_like(1.0), &sum).log() + shift;
            let out = none.where_(&self.scalar_like(f64::NEG_INFINITY), &log);
            Ok(if keepdim { out } else { out.reshape(drop_axes(&shape, &resolved)) })
        })
    }

    /// The p-norm over `axes`: `(Σ |x|ᵖ)^(1/p)` for p above 0, the largest `|x|` for p = ∞, and the number of elements other
    /// than 0 for p = 0 (whose gradient is 0). The gradient with respect to elements that are 0, and that of a norm that is 0,
    /// is 0.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[3.0f32, -4.0], [2], &device)?;
    /// assert_eq!((x.norm(2.0, 0, false).item()?, x.norm(1.0, 0, false).item()?), (5.0, 7.0));
    /// assert_eq!(x.norm(f64::INFINITY, 0, false).item()?, 4.0);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn norm(&self, p: f64, axes: impl IntoAxes, keepdim: bool) -> Self {
        let axes = axes.into_axes();
        Self::guard("norm", &[self], Location::caller(), |n| {
            need_float(n[0])?;
            if p.is_nan() || p < 0.0 {
                return Err(Fault::attribute(format!("p = {p} is not the order of a norm"), "use p >= 0"));
            }
            let shape = n[0].shape;
            let axes = listed(&shape, axes)?;
            if p == f64::INFINITY && axes.iter().any(|&d| shape[d as usize] == 0) {
                return Err(Fault::shape(
                    "no element to choose from along an axis of length 0",
                    "reduce over axes with elements",
                ));
            }
            Ok(if p == 0.0 {
                self.occupied().sum(&axes, keepdim)
            } else if p == 1.0 {
                self.abs().sum(&axes, keepdim)
            } else if p == f64::INFINITY {
                self.abs().max(&axes, keepdim)
            } else {
                let empty = axes.iter().any(|&d| shape[d as usize] == 0);
                // In units of the largest magnitude, so that no power overflows or vanishes; the norm does not depend on them.
                let unit = if empty { self.scalar_like(1.0) } else { self.detach().abs().max(&axes, true).as_unit() };
                let power = |x: &Self, e: f64| x.unless_zero(|x| x.powf(e));
                let norm = if p == 2.0 {
                    (self / &unit).square().sum(&axes, true).root()
                } else {
                    power(&power(&(self / &unit).abs(), p).sum(&axes, true), 1.0 / p)
                };
                let norm = norm * unit;
                let axes: Vec<usize> = axes.iter().map(|&d| d as usize).collect();
                if keepdim { norm } else { norm.reshape(drop_axes(&shape, &axes)) }
            })
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

/// I32: how many are true.
fn count(truths: &Tensor, axes: &[isize], keepdim: bool) -> Tensor {
    truths.cast(DType::I32).sum(axes, keepdim)
}

/// The axes, checked; all of them for `None`.
fn listed(shape: &Shape, axes: Option<Vec<isize>>) -> Result<Vec<isize>, Fault> {
    Ok(resolve(shape, axes.as_deref())?.into_iter().map(|d| d as isize).collect())
}
