//! Sorting: a kernel gives the order, and the values are gathered by it, so that gradients go back where they came from.

use super::{At, Fault, Tensor, need_axis};
use crate::dtype::DType;
use crate::error::Result;
use crate::graph::Op;
use crate::graph::row::RowOp;
use crate::shape::Shape;
use std::panic::Location;

/// # Order
impl Tensor {
    /// The elements along an axis in order, and the i32 indices they come from. Stable: equal elements keep their order. NaN
    /// counts as the largest, and -0 as equal to 0. The gradient follows the values. Takes axes of any length, in tensors of up
    /// to 2³¹ elements.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let x = Tensor::from_slice(&[3.0f32, 1.0, 2.0, 1.0], [4], &Device::cpu()?)?;
    /// let (values, indices) = x.sort(0, false);
    /// assert_eq!(values.to_vec::<f32>()?, [1.0, 1.0, 2.0, 3.0]);
    /// assert_eq!(indices.to_vec::<i32>()?, [1, 3, 2, 0]);
    /// assert_eq!(x.topk(2, 0).1.to_vec::<i32>()?, [0, 2]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn sort(&self, axis: isize, descending: bool) -> (Self, Self) {
        self.ordered("sort", axis, descending, None, Location::caller())
    }

    /// The indices of [`Tensor::sort`]: i32.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[3, 1, 2, 1], [4], &device)?;
    /// assert_eq!(x.argsort(0, false).to_vec::<i32>()?, [1, 3, 2, 0]);
    /// assert_eq!(x.argsort(0, true).to_vec::<i32>()?, [0, 2, 1, 3]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn argsort(&self, axis: isize, descending: bool) -> Self {
        self.ordered("argsort", axis, descending, None, Location::caller()).1
    }

    /// The `k` largest elements along an axis, largest first, and the i32 indices they come from. Of equal elements the first are
    /// taken (in PyTorch, any of them). NaN counts as the largest.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[3.0f32, 9.0, 1.0, 7.0], [4], &device)?;
    /// let (values, indices) = x.topk(2, 0);
    /// assert_eq!(values.to_vec::<f32>()?, [9.0, 7.0]);
    /// assert_eq!(indices.to_vec::<i32>()?, [1, 3]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn topk(&self, k: usize, axis: isize) -> (Self, Self) {
        self.ordered("topk", axis, true, Some(k), Location::caller())
    }

    fn ordered(&self, name: &'static str, axis: isize, descending: bool, k: Option<usize>, at: At) -> (Self, Self) {
        let mut found = None;
        let checked = Self::guard(name, &[self], at, |n| {
            let shape = n[0].shape;
            let axis = need_axis(&shape, axis)?;
            let len = shape[axis];
            if n[0].dtype == DType::Bool {
                return Err(Fault::dtype("bool has no order", "cast it to i32 first"));
            }
            if i32::try_from(shape.numel()).is_err() {
                let reason = format!("{} elements are more than i32 indices can count", shape.numel());
                return Err(Fault::shape(reason, "sort slices"));
            }
            let k = k.unwrap_or(len);
            if k > len {
                return Err(Fault::attribute(format!("k = {k} is more than the axis' length {len}"), "use a smaller k"));
            }
            let mut order: Vec<usize> = (0..shape.rank()).collect();
            order.swap(axis, shape.rank() - 1);
            let rows = shape.numel().checked_div(len).unwrap_or(0);
            let lines = self.permute(&order).reshape([rows, len]);
            let mut wide: Vec<usize> = order.iter().map(|&d| shape[d]).collect();
            if let Some(last) = wide.last_mut() {
                *last = k;
            }
            let back = |t: Self| t.reshape(&wide[..]).permute(&order);
            match sorted(&lines, len, k, descending) {
                Ok((values, indices)) => found = Some((back(values), back(indices))),
                Err(error) => return Ok(Self::from_error(error)),
            }
            Ok(self.clone())
        });
        found.unwrap_or_else(|| (checked.clone(), checked))
    }
}

/// The first `k` values and indices in order along the last axis of `[rows, n]`.
fn sorted(x: &Tensor, n: usize, k: usize, descending: bool) -> Result<(Tensor, Tensor)> {
    let shape = x.shape()?;
    let order = Tensor::build(Op::Row(RowOp::ArgSort { descending }), &[&x.detach()], shape, DType::I32);
    let indices = order.slice(1, 0, k as isize);
    let taken = Shape::of(&[shape[0], k]);
    if taken.numel() == 0 {
        return Ok((x.slice(1, 0, k as isize), indices));
    }
    let first = Tensor::iota(shape[0], DType::I32, &x.device()?)?.reshape([shape[0], 1]) * n as f64;
    let flat = (&indices + first).reshape([taken.numel()]);
    let values = x.reshape([shape.numel(), 1]).gather_rows_within(&flat).reshape(taken);
    Ok((values, indices))
}
