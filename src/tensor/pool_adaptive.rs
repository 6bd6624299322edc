//! Pooling to a given size, over one, two and three axes.

use super::band::{Band, Taps};
use super::{Fault, Tensor, need_few, need_float, need_possible};
use crate::dtype::DType;
use crate::lazy::Node;
use crate::shape::PerAxis;
use std::panic::Location;

/// # Adaptive pooling over one and three axes
impl Tensor {
    /// The means of `[n, c, h, w]` over a grid of `size` windows that cover the image: window i of `o` along an axis of
    /// length `l` is `⌊i·l/o⌋ .. ⌈(i+1)·l/o⌉`.
    ///
    /// A value reaches only the windows that contain it, even if it is not finite.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let x = Tensor::arange(0.0, 6.0, 1.0, &Device::cpu()?)?.reshape([1, 1, 2, 3]);
    /// assert_eq!(x.adaptive_avg_pool2d([1, 2]).to_vec::<f32>()?, [2.0, 3.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn adaptive_avg_pool2d(&self, size: impl PerAxis<2>) -> Self {
        let size = size.per_axis();
        Self::guard("adaptive_avg_pool2d", &[self], Location::caller(), |n| {
            let [h, w] = check_adaptive(n[0], size)?;
            if h.is_multiple_of(size[0]) && w.is_multiple_of(size[1]) {
                return Ok(self.avg_pool2d([h / size[0], w / size[1]]));
            }
            Ok(self.averages(3, w, size[1]).averages(2, h, size[0]))
        })
    }

    /// The largest values of `[n, c, h, w]` over a grid of `size` windows, as in [`Tensor::adaptive_avg_pool2d`]. Of equal ones
    /// the first gets the gradient.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::arange(0.0, 6.0, 1.0, &device)?.reshape([1, 1, 2, 3]);
    /// assert_eq!(x.adaptive_max_pool2d([2, 1]).to_vec::<f32>()?, [2.0, 5.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn adaptive_max_pool2d(&self, size: impl PerAxis<2>) -> Self {
        let size = size.per_axis();
        Self::guard("adaptive_max_pool2d", &[self], Location::caller(), |n| {
            let [h, w] = check_adaptive(n[0], size)?;
            if h.is_multiple_of(size[0]) && w.is_multiple_of(size[1]) {
                return Ok(self.max_pool2d([h / size[0], w / size[1]]));
            }
            size.iter().try_for_each(|&s| need_few("windows", s))?;
            Ok(self.largest_of(1, w, size[1]).largest_of(0, h, size[0]))
        })
    }

    /// The means of `out` windows along an axis of length `len`.
    fn averages(&self, axis: usize, len: usize, out: usize) -> Self {
        if len == out {
            return self.clone();
        }
        let means = || {
            let sums = Band { taps: Taps::Windows, len, new: out }.apply(self, axis)?;
            let window = Self::iota(out, DType::I32, &self.device()?)?;
            let (len, out) = (window.scalar_like(len as f64), window.scalar_like(out as f64));
            let stop = (&window * &len + (&len + &out - 1.0)) / &out;
            let count = (stop - window * len / out).cast(self.dtype()?);
            let mut dims = vec![1; self.shape()?.rank()];
            dims[axis] = count.shape()?[0];
            Ok::<_, crate::error::Error>(sums / count.reshape(dims))
        };
        means().unwrap_or_else(Self::from_error)
    }

    /// Adaptive maxima along one of the last two axes.
    fn largest_of(&self, axis: usize, len: usize, out: usize) -> Self {
        let windows: Vec<Self> = (0..out)
            .map(|i| {
                let (start, stop) = (i * len / out, ((i + 1) * len).div_ceil(out));
                let mut kernel = [1, 1];
                kernel[axis] = stop - start;
                self.slice(axis as isize + 2, start as isize, stop as isize).max_pool2d(kernel)
            })
            .collect();
        Self::cat(&windows.iter().collect::<Vec<_>>(), axis as isize + 2)
    }

    /// The means of `[n, c, l]` over `size` windows that cover the axis, as in [`Tensor::adaptive_avg_pool2d`].
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::arange(0.0, 5.0, 1.0, &device)?.reshape([1, 1, 5]);
    /// assert_eq!(x.adaptive_avg_pool1d(2).to_vec::<f32>()?, [1.0, 3.0]); // of 0 1 2 and 2 3 4
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn adaptive_avg_pool1d(&self, size: impl PerAxis<1>) -> Self {
        let [size] = size.per_axis();
        Self::guard("adaptive_avg_pool1d", &[self], Location::caller(), |n| {
            check_adaptive(n[0], [size])?;
            Ok(self.unsqueeze(2).adaptive_avg_pool2d([1, size]).squeeze(2))
        })
    }

    /// The largest values of `[n, c, l]` over `size` windows that cover the axis, as in [`Tensor::adaptive_max_pool2d`].
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[5.0f32, 1.0, 2.0, 4.0], [1, 1, 4], &device)?;
    /// assert_eq!(x.adaptive_max_pool1d(2).to_vec::<f32>()?, [5.0, 4.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn adaptive_max_pool1d(&self, size: impl PerAxis<1>) -> Self {
        let [size] = size.per_axis();
        Self::guard("adaptive_max_pool1d", &[self], Location::caller(), |n| {
            check_adaptive(n[0], [size])?;
            Ok(self.unsqueeze(2).adaptive_max_pool2d([1, size]).squeeze(2))
        })
    }

    /// The means of `[n, c, d, h, w]` over a grid of `size` windows that cover the volume, as in
    /// [`Tensor::adaptive_avg_pool2d`].
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let x = Tensor::arange(0.0, 8.0, 1.0, &Device::cpu()?)?.reshape([1, 1, 2, 2, 2]);
    /// assert_eq!(x.adaptive_avg_pool3d([2, 1, 1]).to_vec::<f32>()?, [1.5, 5.5]);
    /// assert_eq!(x.adaptive_max_pool3d([1, 1, 2]).to_vec::<f32>()?, [6.0, 7.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn adaptive_avg_pool3d(&self, size: impl PerAxis<3>) -> Self {
        let size = size.per_axis();
        Self::guard("adaptive_avg_pool3d", &[self], Location::caller(), |n| {
            let [d, h, w] = check_adaptive(n[0], size)?;
            let (batch, c, [od, oh, ow]) = (n[0].shape[0], n[0].shape[1], size);
            let images = self.reshape([batch, c * d, h, w]).adaptive_avg_pool2d([oh, ow]);
            let columns = images.reshape([batch, c, d, oh * ow]);
            let means = if d.is_multiple_of(od) { columns.avg_pool2d([d / od, 1]) } else { columns.averages(2, d, od) };
            Ok(means.reshape([batch, c, od, oh, ow]))
        })
    }

    /// The largest values of `[n, c, d, h, w]` over a grid of `size` windows, as in [`Tensor::adaptive_avg_pool3d`]. Of equal
    /// ones the first gets the gradient.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::arange(0.0, 8.0, 1.0, &device)?.reshape([1, 1, 2, 2, 2]);
    /// assert_eq!(x.adaptive_max_pool3d([2, 1, 1]).to_vec::<f32>()?, [3.0, 7.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn adaptive_max_pool3d(&self, size: impl PerAxis<3>) -> Self {
        let size = size.per_axis();
        Self::guard("adaptive_max_pool3d", &[self], Location::caller(), |n| {
            let [d, h, w] = check_adaptive(n[0], size)?;
            let (batch, c, [od, oh, ow]) = (n[0].shape[0], n[0].shape[1], size);
            need_few("windows", od)?;
            let images = self.reshape([batch, c * d, h, w]).adaptive_max_pool2d([oh, ow]);
            let largest = images.reshape([batch, c, d, oh * ow]).largest_of(0, d, od);
            Ok(largest.reshape([batch, c, od, oh, ow]))
        })
    }
}

/// The image's lengths after the first two axes.
fn check_adaptive<const D: usize>(x: &Node, size: [usize; D]) -> Result<[usize; D], Fault> {
    need_float(x)?;
    if x.shape.rank() != D + 2 {
        let help = ["use [n, c, l]", "use [n, c, h, w]", "use [n, c, d, h, w]"];
        return Err(Fault::shape(format!("images must have {} axes", D + 2), help[D.clamp(1, 3) - 1]));
    }
    let image: [usize; D] = std::array::from_fn(|d| x.shape[d + 2]);
    if size.contains(&0) {
        return Err(Fault::attribute(format!("the size {size:?} is empty"), "use at least 1 along every axis"));
    }
    if image.contains(&0) {
        return Err(Fault::shape("the images are empty", "give at least one pixel"));
    }
    // The bounds of windows are computed in 32-bit integers.
    if (0..D).any(|d| image[d].saturating_mul(size[d].saturating_add(1)) > 1 << 30) {
        return Err(Fault::shape(format!("{image:?} to {size:?} is too large"), "use smaller images"));
    }
    need_possible(&[&x.shape[..2], &size[..]].concat())?;
    Ok(image)
}
