//! Reductions over any axes. Each has three forms: over everything, over axes that the result drops, and over axes that it keeps
//! with length 1.

use super::{Fault, Tensor, need_axis, need_float, need_number};
use crate::dtype::DType;
use crate::graph::Op;
use crate::graph::op::{PairOp, ReduceOp, without};
use crate::shape::{IntoAxes, Shape};
use std::panic::Location;

/// How [`Tensor::var_with`] and [`Tensor::std_with`] divide, and what shape they give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VarOptions {
    /// What is subtracted from the count before dividing by it: 1 makes the variance unbiased, 0 gives that of a population.
    /// Defaults to 1.
    pub correction: usize,
    /// Whether the axes are kept with length 1. Defaults to false.
    pub keepdim: bool,
}

impl Default for VarOptions {
    fn default() -> Self {
        Self { correction: 1, keepdim: false }
    }
}

/// Declares the three forms of reductions, each by its name, the two over axes, and the method that computes it.
macro_rules! reductions {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty)?), $dim:ident, $keepdim:ident => $form:ident;)*) => {
        /// # Reductions
        impl Tensor {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(&self $(, $arg: $type)?) -> Self {
                self.$form($($arg,)? None, false, Location::caller())
            }

            #[doc = concat!("[`", stringify!($name), "`](Self::", stringify!($name), ") over `axes`, which the result drops; over all for `()`.")]
            #[track_caller]
            pub fn $dim(&self $(, $arg: $type)?, axes: impl IntoAxes) -> Self {
                self.$form($($arg,)? axes.into_axes(), false, Location::caller())
            }

            #[doc = concat!("[`", stringify!($name), "`](Self::", stringify!($name), ") over `axes`, which are kept with length 1; over all for `()`.")]
            #[track_caller]
            pub fn $keepdim(&self $(, $arg: $type)?, axes: impl IntoAxes) -> Self {
                self.$form($($arg,)? axes.into_axes(), true, Location::caller())
            }
        )*}
    };
}
pub(super) use reductions;

reductions! {
    /// The sum of all elements, Σ x; 0 for none. [`sum_dim`](Self::sum_dim) and [`sum_keepdim`](Self::sum_keepdim) sum over axes.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let t = Tensor::arange(0.0, 6.0, 1.0, &Device::cpu()?)?.reshape([2, 3]);
    /// assert_eq!(t.sum().item()?, 15.0);
    /// assert_eq!(t.sum_dim(0).to_vec::<f32>()?, [3.0, 5.0, 7.0]);
    /// assert_eq!(t.sum_keepdim(-1).shape()?, [2, 1]);
    /// # Ok(()) }
    /// ```
    sum(), sum_dim, sum_keepdim => sums;

    /// The product of the elements, Π x; 1 for none.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 5.0, 7.0, 3.0], [2, 2], &device)?;
    /// assert_eq!(x.prod().item()?, 105.0);
    /// assert_eq!(x.prod_dim(1).to_vec::<f32>()?, [5.0, 21.0]);
    /// # Ok(()) }
    /// ```
    prod(), prod_dim, prod_keepdim => products;

    /// The largest element, max x; NaN if any is. Equal maxima share the gradient. Refuses axes without elements. Over axes it
    /// gives only the values, like PyTorch's `amax`; [`argmax_dim`](Self::argmax_dim) gives their positions.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 5.0, 7.0, 3.0], [2, 2], &device)?;
    /// assert_eq!(x.max().item()?, 7.0);
    /// assert_eq!(x.max_dim(1).to_vec::<f32>()?, [5.0, 7.0]);
    /// assert_eq!(x.max_keepdim(()).shape()?, [1, 1]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "amax")]
    max(), max_dim, max_keepdim => maxima;

    /// The smallest element, min x; NaN if any is. Equal minima share the gradient. Refuses axes without elements.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 5.0, 7.0, 3.0], [2, 2], &device)?;
    /// assert_eq!(x.min().item()?, 1.0);
    /// assert_eq!(x.min_dim(0).to_vec::<f32>()?, [1.0, 3.0]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "amin")]
    min(), min_dim, min_keepdim => minima;

    /// The arithmetic mean, `Σ x / count`; NaN for none.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 5.0, 7.0, 3.0], [2, 2], &device)?;
    /// assert_eq!(x.mean().item()?, 4.0);
    /// assert_eq!(x.mean_dim(0).to_vec::<f32>()?, [4.0, 4.0]);
    /// # Ok(()) }
    /// ```
    mean(), mean_dim, mean_keepdim => means;

    /// The unbiased variance, `Σ(x - mean)² / (count - 1)`. [`var_with`](Self::var_with) divides by another count.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 3.0], [1, 2], &device)?;
    /// assert_eq!((x.var().item()?, x.var_dim(1).to_vec::<f32>()?), (2.0, vec![2.0]));
    /// # Ok(()) }
    /// ```
    var(), var_dim, var_keepdim => variances;

    /// I32: the index of the first largest element; NaN counts as the largest. Over several axes it is the linear index within
    /// them, in row-major order.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 5.0, 7.0, 3.0], [2, 2], &device)?;
    /// assert_eq!(x.argmax().item()?, 2.0);
    /// assert_eq!(x.argmax_dim(1).to_vec::<i32>()?, [1, 0]);
    /// # Ok(()) }
    /// ```
    argmax(), argmax_dim, argmax_keepdim => first_maxima;

    /// I32: the index of the first smallest element, like [`Tensor::argmax`]; NaN counts as the smallest.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 5.0, 7.0, 3.0], [2, 2], &device)?;
    /// assert_eq!(x.argmin().item()?, 0.0);
    /// assert_eq!(x.argmin_dim(0).to_vec::<i32>()?, [0, 1]);
    /// # Ok(()) }
    /// ```
    argmin(), argmin_dim, argmin_keepdim => first_minima;
}

/// # Variance with options, standardising
impl Tensor {
    /// The variance over `axes` (`()` for all): `Σ(x - mean)² / (count - correction)`.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor, VarOptions};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 3.0], [2], &device)?;
    /// assert_eq!(x.var_with(0, VarOptions { correction: 0, ..VarOptions::default() }).item()?, 1.0);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn var_with(&self, axes: impl IntoAxes, options: VarOptions) -> Self {
        self.variance(axes.into_axes(), options, Location::caller())
    }

    pub(super) fn sums(&self, axes: Option<Vec<isize>>, keepdim: bool, at: super::At) -> Self {
        self.reduce("sum", ReduceOp::Sum, axes, keepdim, at)
    }

    fn products(&self, axes: Option<Vec<isize>>, keepdim: bool, at: super::At) -> Self {
        self.reduce("prod", ReduceOp::Prod, axes, keepdim, at)
    }

    fn maxima(&self, axes: Option<Vec<isize>>, keepdim: bool, at: super::At) -> Self {
        self.reduce("max", ReduceOp::Max, axes, keepdim, at)
    }

    fn minima(&self, axes: Option<Vec<isize>>, keepdim: bool, at: super::At) -> Self {
        self.reduce("min", ReduceOp::Min, axes, keepdim, at)
    }

    fn means(&self, axes: Option<Vec<isize>>, keepdim: bool, at: super::At) -> Self {
        Self::guard("mean", &[self], at, |n| {
            need_float(n[0])?;
            let count = count(&n[0].shape, axes.as_deref())?;
            Ok(self.reduce("mean", ReduceOp::Sum, axes, keepdim, at) * (1.0 / count as f64))
        })
    }

    fn variances(&self, axes: Option<Vec<isize>>, keepdim: bool, at: super::At) -> Self {
        self.variance(axes, VarOptions { keepdim, ..VarOptions::default() }, at)
    }

    pub(super) fn variance(&self, axes: Option<Vec<isize>>, options: VarOptions, at: super::At) -> Self {
        let VarOptions { correction, keepdim } = options;
        Self::guard("var", &[self], at, |n| {
            need_float(n[0])?;
            let count = count(&n[0].shape, axes.as_deref())?;
            let mean = self.means(axes.clone(), true, at);
            let squares = (self - mean).square();
            let freedom = count as f64 - correction as f64;
            Ok(squares.reduce("var", ReduceOp::Sum, axes, keepdim, at) * (1.0 / freedom.max(0.0)))
        })
    }

    fn first_maxima(&self, axes: Option<Vec<isize>>, keepdim: bool, at: super::At) -> Self {
        self.arg_reduce("argmax", ReduceOp::Max, axes, keepdim, at)
    }

    fn first_minima(&self, axes: Option<Vec<isize>>, keepdim: bool, at: super::At) -> Self {
        self.arg_reduce("argmin", ReduceOp::Min, axes, keepdim, at)
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

    /// `(x - mean) / √(variance + eps)`, with mean and population variance over `axes`, and those two (axes kept with
    /// length 1). The gradient with respect to x accounts for mean and variance.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 5.0], [1, 2], &device)?;
    /// let (y, mean, variance) = x.standardize(&[1], 0.0);
    /// assert_eq!((mean.item()?, variance.item()?), (3.0, 4.0));
    /// assert_eq!(format!("{:.4?}", y.to_vec::<f32>()?), "[-1.0000, 1.0000]");
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn standardize(&self, axes: &[usize], eps: f64) -> (Self, Self, Self) {
        let at = Location::caller();
        let _call = Self::called("standardize", &[self], at);
        // What does not fit an isize is not an axis either.
        let signed: Vec<isize> = axes.iter().map(|&a| isize::try_from(a).unwrap_or(isize::MAX)).collect();
        let checked = Self::guard("standardize", &[self], at, |n| {
            super::need_float(n[0])?;
            resolve(&n[0].shape, Some(&signed))?;
            Ok(self.clone())
        });
        if checked.check().is_err() {
            return (checked.clone(), checked.clone(), checked);
        }
        let mut sorted = axes.to_vec();
        sorted.sort_unstable();
        let (out, moments) = self.standardized(sorted, eps, None, None);
        let narrow = self.shape().map_or(Shape::SCALAR, |shape| without(shape, axes));
        let row = |k| moments.narrow(0, k, 1).reshape(narrow);
        (out, row(0), row(1))
    }

    /// `(x - mean) / √(variance + eps) · weight + bias` with mean and population variance over ascending `axes`, and those two as
    /// `[2, n]`. Weight and bias have x's shape with length 1 along the axes. Checked by the caller.
    pub(super) fn standardized(&self, axes: Vec<usize>, eps: f64, weight: Option<&Self>, bias: Option<&Self>) -> (Self, Self) {
        let Ok(node) = self.node() else { return (self.clone(), self.clone()) };
        let (shape, dtype) = (node.shape, node.dtype);
        let columns = without(shape, &axes).numel();
        let moments = Op::Pair { op: PairOp::Moments, axes: axes.clone() };
        let moments = Self::build(moments, &[self], Shape::of(&[2, columns]), dtype);
        let eps = self.scalar_like(eps);
        let op = Op::Standardize { axes, scaled: weight.is_some(), shifted: bias.is_some() };
        let inputs: Vec<&Self> = [self, &moments, &eps].into_iter().chain(weight).chain(bias).collect();
        (Self::build(op, &inputs, shape, dtype), moments)
    }
}

/// How many elements there are along these axes.
fn count(shape: &Shape, axes: Option<&[isize]>) -> Result<usize, Fault> {
    Ok(resolve(shape, axes)?.into_iter().map(|d| shape[d]).product())
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
