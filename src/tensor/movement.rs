//! Methods that rename coordinates: views, which cost nothing by themselves.

use super::{Fault, Tensor, need_axis, need_possible};
use crate::error::counted;
use crate::graph::Op;
use crate::shape::{IntoShape, Shape};
use std::panic::Location;

/// # Shapes and axes
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
                let reason =
                    format!("{} cannot fill shape {to}, which holds {}", counted(n[0].shape.numel(), "element"), to.numel());
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
            let to = Shape::new(&dims)
                .map_err(|_| Fault::shape(format!("{} axes are too many", dims.len()), "at most 8 are supported"))?;
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
                return Err(Fault::shape(
                    format!("{} pairs were given for {rank} axes", amounts.len()),
                    "give one pair per axis",
                ));
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
