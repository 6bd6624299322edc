//! Pooling over one and three axes to a given size.

use super::pool_nd::check_adaptive;
use super::{PoolOptions, Tensor, need_few};
use std::panic::Location;

/// # Adaptive pooling over one and three axes
impl Tensor {
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
    pub fn adaptive_avg_pool1d(&self, size: usize) -> Self {
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
    pub fn adaptive_max_pool1d(&self, size: usize) -> Self {
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
    pub fn adaptive_avg_pool3d(&self, size: [usize; 3]) -> Self {
        Self::guard("adaptive_avg_pool3d", &[self], Location::caller(), |n| {
            let [d, h, w] = check_adaptive(n[0], size)?;
            let (batch, c, [od, oh, ow]) = (n[0].shape[0], n[0].shape[1], size);
            let images = self.reshape([batch, c * d, h, w]).adaptive_avg_pool2d([oh, ow]);
            let columns = images.reshape([batch, c, d, oh * ow]);
            let means = if d.is_multiple_of(od) {
                columns.avg_pool2d(PoolOptions { kernel: [d / od, 1], ..PoolOptions::square(1) })
            } else {
                columns.averages(2, d, od)
            };
            Ok(means.reshape([batch, c, od, oh, ow]))
        })
    }

    /// The largest values of `[n, c, d, h, w]` over a grid of `size` windows, as in [`Tensor::adaptive_avg_pool3d`]. Of equal
    /// ones the first takes the gradient.
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
    pub fn adaptive_max_pool3d(&self, size: [usize; 3]) -> Self {
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
