//! Methods that rename coordinates: views, which cost nothing by themselves.

use super::reduce::resolve;
use super::{Fault, Tensor, need_axis, need_possible};
use crate::graph::Op;
use crate::shape::{IntoAxes, IntoShape, Shape};
use std::panic::Location;

impl Tensor {
    /// The same elements in row-major order under another shape.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let t = Tensor::arange(0.0, 6.0, 1.0, &Device::cpu()?)?.reshape([2, 3]);
    /// assert_eq!(t.slice(0, 1, 2).to_vec::<f32>()?, [3.0, 4.0, 5.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn reshape(&self, shape: impl IntoShape) -> Self {
        let wanted = shape.into_shape();
        Self::guard("reshape", &[self], Location::caller(), |n| {
            let to = wanted.map_err(|e| Fault::shape(e.to_string(), "use a possible shape"))?;
            if to.numel() != n[0].shape.numel() {
                let reason = format!("{} elements cannot fill shape {to}, which holds {}", n[0].shape.numel(), to.numel());
                return Err(Fault::shape(reason, "use a shape with as many elements"));
            }
            if to == n[0].shape {
                return Ok(self.clone());
            }
            Ok(Self::build(Op::Reshape, &[self], to, n[0].dtype))
        })
    }

    /// Merges the axes `first..=last` into one. `flatten(1, -1)` turns images into rows.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let images = Tensor::zeros([8, 3, 4, 4], &device)?;
    /// assert_eq!(images.flatten(1, -1).shape()?, [8, 48]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn flatten(&self, first: isize, last: isize) -> Self {
        let at = Location::caller();
        let merged = self.node().map(|n| n.shape).map(|shape| {
            let (a, b) = (shape.axis(first)?, shape.axis(last)?);
            (a <= b).then(|| {
                let mut dims = shape[..a].to_vec();
                dims.push(shape[a..=b].iter().product());
                dims.extend(&shape[b + 1..]);
                Shape::of(&dims)
            })
        });
        match merged {
            Ok(Some(shape)) => self.reshape(shape),
            Ok(None) => {
                let fault = Fault::axis(
                    format!("axes {first} to {last} are not a range of this shape"),
                    "use axes below the rank, in order",
                );
                Self::refuse("flatten", &[self], at, fault)
            }
            Err(_) => self.clone(),
        }
    }

    /// Splits an axis into several, whose lengths multiply to its own: the inverse of [`Tensor::flatten`].
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let heads = Tensor::zeros([2, 5, 12], &Device::cpu()?)?.unflatten(-1, &[3, 4]);
    /// assert_eq!(heads.shape()?, [2, 5, 3, 4]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn unflatten(&self, axis: isize, sizes: &[usize]) -> Self {
        Self::guard("unflatten", &[self], Location::caller(), |n| {
            let at = need_axis(&n[0].shape, axis)?;
            let len = n[0].shape[at];
            if sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size)) != Some(len) {
                let reason = format!("sizes {sizes:?} do not multiply to axis {axis}'s length {len}");
                return Err(Fault::shape(reason, "give sizes whose product is the axis' length"));
            }
            let mut dims = n[0].shape.to_vec();
            dims.splice(at..=at, sizes.iter().copied());
            let to =
                Shape::new(&dims).map_err(|_| Fault::shape(format!("{} axes are too many", dims.len()), "8 are the most"))?;
            Ok(self.reshape(to))
        })
    }

    /// Axis `d` of the result is axis `order[d]` of this tensor.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let images = Tensor::zeros([8, 4, 5, 3], &device)?;
    /// assert_eq!(images.permute(&[0, 3, 1, 2]).shape()?, [8, 3, 4, 5]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn permute(&self, order: &[usize]) -> Self {
        Self::guard("permute", &[self], Location::caller(), |n| {
            let rank = n[0].shape.rank();
            let mut sorted = order.to_vec();
            sorted.sort_unstable();
            if !sorted.into_iter().eq(0..rank) {
                return Err(Fault::axis(
                    format!("{order:?} is not an order of {rank} axes"),
                    format!("list each of 0..{rank} once"),
                ));
            }
            if order.is_sorted() {
                return Ok(self.clone());
            }
            let shape = Shape::of(&order.iter().map(|&d| n[0].shape[d]).collect::<Vec<_>>());
            Ok(Self::build(Op::Permute(order.to_vec()), &[self], shape, n[0].dtype))
        })
    }

    /// Swaps two axes.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::zeros([2, 3, 4], &device)?;
    /// assert_eq!(x.transpose(0, -1).shape()?, [4, 3, 2]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn transpose(&self, a: isize, b: isize) -> Self {
        Self::guard("transpose", &[self], Location::caller(), |n| {
            let (a, b) = (need_axis(&n[0].shape, a)?, need_axis(&n[0].shape, b)?);
            let mut order: Vec<usize> = (0..n[0].shape.rank()).collect();
            order.swap(a, b);
            Ok(self.permute(&order))
        })
    }

    /// The matrix transpose, `out[i][j] = x[j][i]`: swaps the last two axes.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [2, 2], &device)?;
    /// assert_eq!(x.t().to_vec::<f32>()?, [1.0, 3.0, 2.0, 4.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn t(&self) -> Self {
        self.transpose(-2, -1)
    }

    /// Stretches axes of length 1 (and adds leading axes) to reach `shape`.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let column = Tensor::from_slice(&[1.0f32, 2.0], [2, 1], &device)?;
    /// assert_eq!(column.expand([2, 3]).to_vec::<f32>()?, [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn expand(&self, shape: impl IntoShape) -> Self {
        let wanted = shape.into_shape();
        Self::guard("expand", &[self], Location::caller(), |n| {
            let to = wanted.map_err(|e| Fault::shape(e.to_string(), "use a possible shape"))?;
            if n[0].shape.broadcast(&to) != Some(to) {
                let reason = format!("shape {} does not stretch to {to}", n[0].shape);
                return Err(Fault::shape(reason, "only axes of length 1 stretch; aligned at the last axis"));
            }
            Ok(self.broadcast_to(to))
        })
    }

    /// Adds an axis of length 1 at `axis` (which may be one past the last).
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::zeros([3], &device)?;
    /// assert_eq!(x.unsqueeze(0).shape()?, [1, 3]);
    /// assert_eq!(x.unsqueeze(-1).shape()?, [3, 1]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn unsqueeze(&self, axis: isize) -> Self {
        Self::guard("unsqueeze", &[self], Location::caller(), |n| {
            let rank = n[0].shape.rank() as isize;
            let at = if axis < 0 { axis + rank + 1 } else { axis };
            if !(0..=rank).contains(&at) || rank as usize == crate::shape::MAX_RANK {
                return Err(Fault::axis(format!("an axis cannot be added at {axis}"), format!("use -{}..={rank}", rank + 1)));
            }
            let mut dims = n[0].shape.to_vec();
            dims.insert(at as usize, 1);
            Ok(self.reshape(dims))
        })
    }

    /// Removes an axis of length 1.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::zeros([1, 3, 1], &device)?;
    /// assert_eq!(x.squeeze(-1).shape()?, [1, 3]);
    /// assert!(x.squeeze(1).check().is_err());
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn squeeze(&self, axis: isize) -> Self {
        Self::guard("squeeze", &[self], Location::caller(), |n| {
            let at = need_axis(&n[0].shape, axis)?;
            if n[0].shape[at] != 1 {
                return Err(Fault::axis(format!("axis {axis} has length {}, not 1", n[0].shape[at]), "reduce or slice it first"));
            }
            let mut dims = n[0].shape.to_vec();
            dims.remove(at);
            Ok(self.reshape(dims))
        })
    }

    /// The slice at one position along an axis, which drops out: PyTorch's `x[i]` for axis 0. A negative position counts from
    /// the end.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let x = Tensor::arange(0.0, 6.0, 1.0, &Device::cpu()?)?.reshape([2, 3]);
    /// assert_eq!(x.select(0, 1).to_vec::<f32>()?, [3.0, 4.0, 5.0]);
    /// assert_eq!(x.select(1, -1).to_vec::<f32>()?, [2.0, 5.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn select(&self, axis: isize, index: isize) -> Self {
        Self::guard("select", &[self], Location::caller(), |n| {
            let at = need_axis(&n[0].shape, axis)?;
            let len = n[0].shape[at] as isize;
            let from = if index < 0 { index.saturating_add(len) } else { index };
            if !(0..len).contains(&from) {
                let reason = format!("position {index} is outside axis {axis}, of length {len}");
                return Err(Fault::axis(reason, format!("use a position from {} to {}", -len, len - 1)));
            }
            Ok(self.slice(at as isize, from, from + 1).squeeze(at as isize))
        })
    }

    /// `len` elements from position `start` on along an axis: PyTorch's `narrow`. A negative start counts from the end.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let x = Tensor::arange(0.0, 6.0, 1.0, &Device::cpu()?)?;
    /// assert_eq!(x.narrow(0, 1, 2).to_vec::<f32>()?, [1.0, 2.0]);
    /// assert_eq!(x.narrow(0, -2, 2).to_vec::<f32>()?, [4.0, 5.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn narrow(&self, axis: isize, start: isize, len: usize) -> Self {
        Self::guard("narrow", &[self], Location::caller(), |n| {
            let at = need_axis(&n[0].shape, axis)?;
            let end = n[0].shape[at];
            let from = if start < 0 { start.saturating_add(end as isize) } else { start };
            match from.checked_add_unsigned(len).filter(|&stop| from >= 0 && stop <= end as isize) {
                Some(stop) => Ok(self.slice(at as isize, from, stop)),
                None => Err(Fault::axis(
                    format!("{len} elements from position {start} on are not within axis {axis}, of length {end}"),
                    "start earlier, or take fewer",
                )),
            }
        })
    }

    /// Elements `start`, `start + 1`, .. below `stop` along an axis. Negative bounds count from the end, as in Python; bounds
    /// outside the axis are an error, unlike there. Up to the end is `slice(axis, start, x.dim(axis)? as isize)`.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::arange(0.0, 5.0, 1.0, &device)?;
    /// assert_eq!(x.slice(0, 1, -1).to_vec::<f32>()?, [1.0, 2.0, 3.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn slice(&self, axis: isize, start: isize, stop: isize) -> Self {
        self.slice_step(axis, start, stop, 1)
    }

    /// Elements `start`, `start + step`, .. before `stop` along an axis. Negative bounds count from the end. With a negative
    /// step the range runs backwards, from `start` down to, and without, `stop`; `isize::MIN` means "past the first".
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::arange(0.0, 5.0, 1.0, &device)?;
    /// assert_eq!(x.slice_step(0, 1, 5, 2).to_vec::<f32>()?, [1.0, 3.0]);
    /// assert_eq!(x.slice_step(0, -1, isize::MIN, -2).to_vec::<f32>()?, [4.0, 2.0, 0.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn slice_step(&self, axis: isize, start: isize, stop: isize, step: isize) -> Self {
        Self::guard("slice", &[self], Location::caller(), |n| {
            let at = need_axis(&n[0].shape, axis)?;
            let len = n[0].shape[at] as isize;
            if step == 0 {
                return Err(Fault::attribute("the step is 0", "use a positive or negative step"));
            }
            let resolve = |b: isize| if b < 0 && b != isize::MIN { b + len } else { b };
            let (from, to) = (resolve(start), resolve(stop));
            let inside = if step > 0 { 0 <= from && from <= to && to <= len } else { from < len && from >= 0 && to <= from };
            if !inside {
                let reason = format!("{start}..{stop} in steps of {step} is not a range of axis {axis}, of length {len}");
                return Err(Fault::axis(reason, "use bounds within the axis"));
            }
            let span = if step > 0 { to - from } else { from - to.max(-1) };
            let count = span.unsigned_abs().div_ceil(step.unsigned_abs());
            let rank = n[0].shape.rank();
            let (mut starts, mut steps) = (vec![0; rank], vec![1; rank]);
            starts[at] = from as i64;
            // Of one element at most the step does not matter; of more it is shorter than the axis.
            steps[at] = if count > 1 { step as i64 } else { 1 };
            let shape = n[0].shape.with(at, count);
            if shape == n[0].shape && steps[at] == 1 {
                return Ok(self.clone());
            }
            Ok(Self::build(Op::Slice { start: starts, step: steps }, &[self], shape, n[0].dtype))
        })
    }

    /// Reverses axes (`()` for all): `out[i] = x[n - 1 - i]`.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [2, 2], &device)?;
    /// assert_eq!(x.flip(1).to_vec::<f32>()?, [2.0, 1.0, 4.0, 3.0]);
    /// assert_eq!(x.flip(()).to_vec::<f32>()?, [4.0, 3.0, 2.0, 1.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn flip(&self, axes: impl IntoAxes) -> Self {
        let axes = axes.into_axes();
        Self::guard("flip", &[self], Location::caller(), |n| {
            let shape = n[0].shape;
            let (mut start, mut step) = (vec![0; shape.rank()], vec![1; shape.rank()]);
            for d in resolve(&shape, axes.as_deref())?.into_iter().filter(|&d| shape[d] > 1) {
                (start[d], step[d]) = (shape[d] as i64 - 1, -1);
            }
            if step.iter().all(|&s| s == 1) {
                return Ok(self.clone());
            }
            Ok(Self::build(Op::Slice { start, step }, &[self], shape, n[0].dtype))
        })
    }

    /// Zeros around the tensor: `(before, after)` for each axis. [`Tensor::pad_with`] has other modes.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 2.0], [1, 2], &device)?;
    /// let y = x.pad(&[(0, 1), (1, 0)]);
    /// assert_eq!(y.to_vec::<f32>()?, [0.0, 1.0, 2.0, 0.0, 0.0, 0.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn pad(&self, amounts: &[(usize, usize)]) -> Self {
        Self::guard("pad", &[self], Location::caller(), |n| {
            let rank = n[0].shape.rank();
            if amounts.len() != rank {
                return Err(Fault::shape(format!("{} pairs were given for {rank} axes", amounts.len()), "give one pair an axis"));
            }
            if amounts.iter().all(|&p| p == (0, 0)) {
                return Ok(self.clone());
            }
            let shape = need_possible(&padded(&n[0].shape, amounts))?;
            let before = amounts.iter().map(|p| p.0).collect();
            Ok(Self::build(Op::Pad { before }, &[self], shape, n[0].dtype))
        })
    }
}

/// The lengths of a padded shape.
pub(super) fn padded(shape: &Shape, amounts: &[(usize, usize)]) -> Vec<usize> {
    shape.iter().zip(amounts).map(|(&d, &(before, after))| d.saturating_add(before).saturating_add(after)).collect()
}
