//! Reductions over any axes.

use super::{Fault, Tensor, need_axis, need_float, need_number};
use crate::dtype::DType;
use crate::graph::Op;
use crate::graph::op::ReduceOp;
use crate::shape::{IntoAxes, Shape};
use std::panic::Location;

impl Tensor {
    /// Σ over `axes` (`()` for all). `keepdim` leaves the reduced axes with length 1.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let t = Tensor::arange(0.0, 6.0, 1.0, &Device::cpu()?)?.reshape([2, 3]);
    /// assert_eq!(t.sum(0, false).to_vec::<f32>()?, [3.0, 5.0, 7.0]);
    /// assert_eq!(t.sum((), false).item()?, 15.0);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn sum(&self, axes: impl IntoAxes, keepdim: bool) -> Self {
        self.reduce("sum", ReduceOp::Sum, axes.into_axes(), keepdim, Location::caller())
    }

    /// The product of the elements, Π x, over `axes` (`()` for all); 1 for none.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 5.0, 7.0, 3.0], [2, 2], &device)?;
    /// assert_eq!(x.prod(1, false).to_vec::<f32>()?, [5.0, 21.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn prod(&self, axes: impl IntoAxes, keepdim: bool) -> Self {
        self.reduce("prod", ReduceOp::Prod, axes.into_axes(), keepdim, Location::caller())
    }

    /// The largest over `axes` (`()` for all), max x; NaN if any is. Equal maxima share the gradient. Refuses axes without
    /// elements.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 5.0, 7.0, 3.0], [2, 2], &device)?;
    /// assert_eq!(x.max(1, false).to_vec::<f32>()?, [5.0, 7.0]);
    /// assert_eq!(x.max((), true).shape()?, [1, 1]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn max(&self, axes: impl IntoAxes, keepdim: bool) -> Self {
        self.reduce("max", ReduceOp::Max, axes.into_axes(), keepdim, Location::caller())
    }

    /// The smallest over `axes` (`()` for all), min x; NaN if any is. Equal minima share the gradient. Refuses axes without
    /// elements.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 5.0, 7.0, 3.0], [2, 2], &device)?;
    /// assert_eq!(x.min(0, false).to_vec::<f32>()?, [1.0, 3.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn min(&self, axes: impl IntoAxes, keepdim: bool) -> Self {
        self.reduce("min", ReduceOp::Min, axes.into_axes(), keepdim, Location::caller())
    }

    /// The arithmetic mean over `axes` (`()` for all), `Σ x / count`; NaN for none.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 5.0, 7.0, 3.0], [2, 2], &device)?;
    /// assert_eq!(x.mean(0, false).to_vec::<f32>()?, [4.0, 4.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn mean(&self, axes: impl IntoAxes, keepdim: bool) -> Self {
        let (at, axes) = (Location::caller(), axes.into_axes());
        Self::guard("mean", &[self], at, |n| {
            need_float(n[0])?;
            let resolved = resolve(&n[0].shape, axes.as_deref())?;
            let count: usize = resolved.iter().map(|&d| n[0].shape[d]).product();
            Ok(self.reduce("mean", ReduceOp::Sum, axes, keepdim, at) * (1.0 / count as f64))
        })
    }

    /// The variance over `axes`: `Σ(x - mean)² / (count - correction)`; a correction of 1 makes it unbiased.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 3.0], [2], &device)?;
    /// assert_eq!((x.var(0, 1, false).item()?, x.var(0, 0, false).item()?), (2.0, 1.0));
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn var(&self, axes: impl IntoAxes, correction: usize, keepdim: bool) -> Self {
        let (at, axes) = (Location::caller(), axes.into_axes());
        Self::guard("var", &[self], at, |n| {
            need_float(n[0])?;
            let resolved = resolve(&n[0].shape, axes.as_deref())?;
            let count: usize = resolved.iter().map(|&d| n[0].shape[d]).product();
            let mean = self.mean(axes.as_deref().map_or_else(|| all(&n[0].shape), <[isize]>::to_vec).as_slice(), true);
            let squares = (self - mean).square();
            let freedom = count as f64 - correction as f64;
            Ok(squares.reduce("var", ReduceOp::Sum, axes, keepdim, at) * (1.0 / freedom.max(0.0)))
        })
    }

    /// I32 index of the first largest element over `axes` (`()` for all); NaN counts as the largest. Over several axes it is
    /// the linear index within them, in row-major order.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 5.0, 7.0, 3.0], [2, 2], &device)?;
    /// assert_eq!(x.argmax(1, false).to_vec::<i32>()?, [1, 0]);
    /// assert_eq!(x.argmax((), false).item()?, 2.0);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn argmax(&self, axes: impl IntoAxes, keepdim: bool) -> Self {
        self.arg_reduce("argmax", ReduceOp::Max, axes.into_axes(), keepdim, Location::caller())
    }

    /// I32 index of the first smallest element over `axes`, as [`Tensor::argmax`]; NaN counts as the smallest.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 5.0, 7.0, 3.0], [2, 2], &device)?;
    /// assert_eq!(x.argmin(0, false).to_vec::<i32>()?, [0, 1]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn argmin(&self, axes: impl IntoAxes, keepdim: bool) -> Self {
        self.arg_reduce("argmin", ReduceOp::Min, axes.into_axes(), keepdim, Location::caller())
    }

    fn reduce(&self, name: &'static str, op: ReduceOp, axes: Option<Vec<isize>>, keepdim: bool, at: super::At) -> Self {
        Self::guard(name, &[self], at, |n| {
            let shape = n[0].shape;
            need_number(n[0])?;
            let axes = resolve(&shape, axes.as_deref())?;
            let empty = axes.iter().any(|&d| shape[d] == 0);
            if empty && matches!(op, ReduceOp::Max | ReduceOp::Min) {
                return Err(Fault::shape(
                    "no element to choose from along an axis of length 0",
                    "reduce over axes with elements",
                ));
            }
            let kept = axes.iter().fold(shape, |s, &d| s.with(d, 1));
            let reduced = if axes.is_empty() {
                self.clone()
            } else {
                Self::build(Op::Reduce { op, axes: axes.clone() }, &[self], kept, n[0].dtype)
            };
            Ok(if keepdim { reduced } else { reduced.reshape(drop_axes(&shape, &axes)) })
        })
    }

    fn arg_reduce(&self, name: &'static str, op: ReduceOp, axes: Option<Vec<isize>>, keepdim: bool, at: super::At) -> Self {
        Self::guard(name, &[self], at, |n| {
            let shape = n[0].shape;
            let axes = resolve(&shape, axes.as_deref())?;
            if axes.iter().any(|&d| shape[d] == 0) {
                return Err(Fault::shape(
                    "no element to choose from along an axis of length 0",
                    "reduce over axes with elements",
                ));
            }
            if n[0].dtype == DType::Bool {
                return Err(Fault::dtype("bool has no order", "cast it to i32 first"));
            }
            need_number(n[0])?;
            // The reduced axes last, merged into one.
            let mut order: Vec<usize> = (0..shape.rank()).filter(|d| !axes.contains(d)).collect();
            let kept = drop_axes(&shape, &axes);
            order.extend(&axes);
            let mut merged = kept.to_vec();
            merged.push(axes.iter().map(|&d| shape[d]).product());
            let flat = self.permute(&order).reshape(merged);
            let mut one = kept.to_vec();
            one.push(1);
            let index = Self::build(Op::ArgReduce { op, axis: kept.rank() }, &[&flat], Shape::of(&one), DType::I32);
            let wide = axes.iter().fold(shape, |s, &d| s.with(d, 1));
            Ok(index.reshape(if keepdim { wide } else { kept }))
        })
    }

    /// `(x - mean) / √(variance + eps)` with mean and population variance over `axes`, and those two (axes kept with
    /// length 1). The gradient with respect to x accounts for mean and variance.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 5.0], [1, 2], &device)?;
    /// let (y, mean, variance) = x.normalize(&[1], 0.0);
    /// assert_eq!((mean.item()?, variance.item()?), (3.0, 4.0));
    /// assert_eq!(format!("{:.4?}", y.to_vec::<f32>()?), "[-1.0000, 1.0000]");
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn normalize(&self, axes: &[usize], eps: f64) -> (Self, Self, Self) {
        let at = Location::caller();
        // What no isize holds is not an axis either.
        let signed: Vec<isize> = axes.iter().map(|&a| isize::try_from(a).unwrap_or(isize::MAX)).collect();
        let checked = Self::guard("normalize", &[self], at, |n| {
            super::need_float(n[0])?;
            resolve(&n[0].shape, Some(&signed))?;
            Ok(self.clone())
        });
        if checked.check().is_err() {
            return (checked.clone(), checked.clone(), checked);
        }
        let mean = self.mean(signed.as_slice(), true);
        let variance = (self - &mean).square().mean(signed.as_slice(), true);
        let out = Self::guard("normalize", &[self, &mean, &variance], at, |n| {
            let (shape, dtype) = (n[0].shape, n[0].dtype);
            let mut sorted = axes.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            let eps = self.scalar_like(eps).broadcast_to(shape);
            let inputs = [self, &mean.broadcast_to(shape), &variance.broadcast_to(shape), &eps];
            Ok(Self::build(Op::Normalize { axes: sorted }, &inputs, shape, dtype))
        });
        (out, mean, variance)
    }
}

fn all(shape: &Shape) -> Vec<isize> {
    (0..shape.rank() as isize).collect()
}

/// Axes ascending and unique; `None` is all of them.
pub(super) fn resolve(shape: &Shape, axes: Option<&[isize]>) -> Result<Vec<usize>, Fault> {
    let Some(axes) = axes else { return Ok((0..shape.rank()).collect()) };
    let mut resolved = axes.iter().map(|&a| need_axis(shape, a)).collect::<Result<Vec<_>, _>>()?;
    resolved.sort_unstable();
    if resolved.windows(2).any(|w| w[0] == w[1]) {
        return Err(Fault::axis(format!("axes {axes:?} name one axis twice"), "list each axis once"));
    }
    Ok(resolved)
}

/// The shape without these axes.
pub(super) fn drop_axes(shape: &Shape, axes: &[usize]) -> Shape {
    let kept: Vec<usize> = (0..shape.rank()).filter(|d| !axes.contains(d)).map(|d| shape[d]).collect();
    Shape::of(&kept)
}
