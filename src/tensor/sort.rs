//! Sorting by counting: an element's place is the number of elements that go before it.
//!
//! Three fused reductions, whatever the length: places, then indices, then values. The work grows with the square of the
//! axis' length, in return for no passes over memory; nothing of that size is ever in memory.

use super::{At, Fault, Tensor, need_axis};
use crate::dtype::DType;
use crate::error::Result;
use std::panic::Location;

/// The longest axis that is sorted.
const LONGEST: usize = 4096;

impl Tensor {
    /// The elements along an axis in order, and the i32 indices they come from. Stable: equal elements keep their order. NaN
    /// counts as the largest. The gradient follows the values.
    ///
    /// Unlike in PyTorch, a value of -0 comes out as 0. Axes of up to 4096 elements.
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
    #[track_caller]
    pub fn argsort(&self, axis: isize, descending: bool) -> Self {
        self.ordered("argsort", axis, descending, None, Location::caller()).1
    }

    /// The `k` largest elements along an axis, largest first, and the i32 indices they come from. Of equal elements the first
    /// are taken (in PyTorch, any). NaN counts as the largest. Axes of up to 4096 elements.
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
            if len > LONGEST {
                let reason = format!("axis {axis} has length {len}, and at most {LONGEST} elements are sorted");
                return Err(Fault::attribute(reason, "sort shorter pieces, or on the host"));
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
    let index = Tensor::iota(n, DType::I32, &x.device()?)?;
    let rank = places(x, &index, n, descending);
    let place = index.slice(0, 0, k as isize).reshape([1, k, 1]);
    let chosen = rank.unsqueeze(1).eq(&place);
    let zero = index.scalar_like(0.0);
    let indices = chosen.where_(&index.reshape([1, 1, n]), &zero).sum(2, false);
    // Exactly one term is chosen. A sum, rather than a gather, for its gradient: each value's goes back to its element.
    let values = chosen.where_(&x.unsqueeze(1), &x.scalar_like(0.0)).sum(2, false);
    Ok((values, indices))
}

/// For each element i of `[rows, n]`, how many elements j go before it.
fn places(x: &Tensor, index: &Tensor, n: usize, descending: bool) -> Tensor {
    let x = x.detach();
    let (i, j) = (x.unsqueeze(2), x.unsqueeze(1));
    let earlier = index.reshape([1, 1, n]).lt(&index.reshape([1, n, 1]));
    let beyond = if descending { j.gt(&i) } else { j.lt(&i) };
    let mut before = beyond.logical_or(&j.eq(&i).logical_and(&earlier));
    if x.dtype().is_ok_and(DType::is_float) {
        // Comparisons with NaN are false; as the largest, it goes after all numbers, or before them.
        let (last, first) = if descending { (j.is_nan(), i.is_nan()) } else { (i.is_nan(), j.is_nan()) };
        before = before.logical_or(&last.logical_and(&first.logical_not().logical_or(&earlier)));
    }
    before.cast(DType::I32).sum(2, false)
}
