//! Parts of a tensor along its axes, and their adjoint.

use super::reduce::resolve;
use super::{Fault, Tensor, need_axis};
use crate::error::Result;
use crate::graph::Op;
use crate::shape::{IntoAxes, Shape};
use std::panic::Location;

/// # Slices
impl Tensor {
    /// The slice at one position along an axis, which is dropped: PyTorch's `x[i]` for axis 0. A negative position counts from
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

    /// `len` elements along an axis, from position `start` on: PyTorch's `narrow`. A negative start counts from the end.
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

    /// Elements `start`, `start + step`, .. before `stop` along an axis. Negative bounds count from the end. With a negative step
    /// the range runs backwards, from `start` down to `stop`, which is left out; `isize::MIN` means "past the first".
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
            // With at most one element the step does not matter; with more it is shorter than the axis.
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

    /// The adjoint of a slice of a tensor of `shape`: every element back to where it was taken, zeros elsewhere.
    #[allow(clippy::cast_possible_truncation, reason = "within the axis")]
    pub(crate) fn unslice(&self, shape: &Shape, start: &[i64], step: &[i64]) -> Result<Self> {
        let mut out = self.clone();
        for d in 0..shape.rank() {
            let count = out.shape()?[d];
            if count == 0 {
                // Nothing was taken: nothing comes back.
                return Ok(self.scalar_like(0.0).broadcast_to(*shape));
            }
            let (mut first, mut stride) = (start[d], step[d]);
            if stride < 0 {
                out = out.flip(d as isize);
                first += (count as i64 - 1) * stride;
                stride = -stride;
            }
            let stride = stride as usize;
            if stride > 1 && count > 1 {
                // Zeros between the elements: a new axis, padded, merged again, its tail cut.
                let dims = out.shape()?.to_vec();
                let mut split = dims.clone();
                split.insert(d + 1, 1);
                let mut amounts = vec![(0, 0); split.len()];
                amounts[d + 1] = (0, stride - 1);
                let mut merged = dims;
                merged[d] = count * stride;
                out = out.reshape(split).pad(&amounts).reshape(merged).slice(d as isize, 0, ((count - 1) * stride + 1) as isize);
            }
            let len = out.shape()?[d];
            let first = first as usize;
            let mut amounts = vec![(0, 0); shape.rank()];
            amounts[d] = (first, shape[d] - first - len);
            out = out.pad(&amounts);
        }
        Ok(out)
    }
}
