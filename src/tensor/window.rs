//! Convolution and pooling over the last two axes of `[n, c, h, w]` images.

use super::fault::need_channels;
use super::geometry::Window;
use super::pool_nd::check_pool;
use super::{ConvOptions, Fault, PoolOptions, Tensor, need_float, need_possible};
use crate::graph::Op;
use crate::graph::op::{ConvSpec, PoolOp, PoolSpec};
use crate::shape::PerAxis;
use std::panic::Location;

/// # Convolution and pooling over two axes
impl Tensor {
    /// 2-D cross-correlation: images `[n, ci, h, w]` with weights `[co, ci/groups, kh, kw]` give `[n, co, oh, ow]`,
    /// `oh = (h + 2·padding - dilation·(kh - 1) - 1) / stride + 1`. `bias` is `[co]`. For one group, with zeros outside x,
    /// `out[o, i, j] = bias[o] + Σ weight[o, c, p, q] · x[c, i·stride - padding + p·dilation, j·stride - padding + q·dilation]`
    /// over the channels c and the taps p, q.
    ///
    /// ```
    /// # use wgrad::{ConvOptions, Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::arange(0.0, 9.0, 1.0, &device)?.reshape([1, 1, 3, 3]);
    /// let w = Tensor::from_slice(&[1.0f32, 0.0, 0.0, 10.0], [1, 1, 2, 2], &device)?;
    /// let y = x.conv2d(&w, None, ConvOptions::default());
    /// assert_eq!(y.to_vec::<f32>()?, [40.0, 51.0, 73.0, 84.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn conv2d(&self, weight: &Self, bias: Option<&Self>, options: ConvOptions<2>) -> Self {
        let at = Location::caller();
        let out = Self::guard("conv2d", &[self, weight], at, |n| {
            let (x, w) = (n[0], n[1]);
            need_float(x)?;
            if x.dtype.arithmetic() != w.dtype.arithmetic() {
                return Err(Fault::dtype(format!("dtypes {} and {} differ", x.dtype, w.dtype), "cast one"));
            }
            if x.shape.rank() != 4 || w.shape.rank() != 4 {
                return Err(Fault::shape(
                    "images and weights must have 4 axes",
                    "use [n, c, h, w] images and [co, ci/groups, kh, kw] weights",
                ));
            }
            let ConvOptions { stride, padding, dilation, groups, .. } = options;
            if groups == 0 {
                return Err(Fault::attribute("there are no groups", "use at least 1"));
            }
            let (ci, co) = (x.shape[1], w.shape[0]);
            need_channels(ci, &w.shape, groups)?;
            let size = |d: usize| {
                let window = Window { kernel: w.shape[2 + d], dilation: dilation[d], stride: stride[d], padding: padding[d] };
                window.places(x.shape[2 + d])
            };
            let shape = need_possible(&[x.shape[0], co, size(0)?, size(1)?])?;
            let spec = ConvSpec { stride, padding, dilation, groups };
            Ok(Self::build(Op::Conv2d(spec), &[self, weight], shape, x.dtype))
        });
        out.with_bias("conv2d", &[self, weight], bias, options.bias, at)
    }

    /// The largest value of each window of `[n, c, h, w]`, windows of `kernel` side by side, each axis as in
    /// [`Tensor::max_pool1d`]; of equal ones the first gets the gradient. NaN wins. [`Tensor::max_pool2d_with`] takes other
    /// strides, and padding.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::arange(0.0, 16.0, 1.0, &device)?.reshape([1, 1, 4, 4]);
    /// assert_eq!(x.max_pool2d(2).to_vec::<f32>()?, [5.0, 7.0, 13.0, 15.0]);
    /// assert_eq!(x.max_pool2d([4, 2]).to_vec::<f32>()?, [13.0, 15.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn max_pool2d(&self, kernel: impl PerAxis<2>) -> Self {
        self.pool2d("max_pool2d", PoolOp::Max, kernel.per_axis(), PoolOptions::default(), Location::caller())
    }

    /// [`Tensor::max_pool2d`] with a stride, padding or dilation of its own, like `torch.nn.functional.max_pool2d`.
    ///
    /// ```
    /// # use wgrad::{Device, PoolOptions, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::arange(0.0, 16.0, 1.0, &device)?.reshape([1, 1, 4, 4]);
    /// let y = x.max_pool2d_with(3, PoolOptions::default().stride(2).padding(1));
    /// assert_eq!(y.to_vec::<f32>()?, [5.0, 7.0, 13.0, 15.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn max_pool2d_with(&self, kernel: impl PerAxis<2>, options: PoolOptions<2>) -> Self {
        self.pool2d("max_pool2d", PoolOp::Max, kernel.per_axis(), options, Location::caller())
    }

    /// The mean of each window of `[n, c, h, w]`, windows of `kernel` side by side, each axis as in [`Tensor::avg_pool1d`].
    /// [`Tensor::avg_pool2d_with`] takes other strides, and padding.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::arange(0.0, 16.0, 1.0, &device)?.reshape([1, 1, 4, 4]);
    /// assert_eq!(x.avg_pool2d(2).to_vec::<f32>()?, [2.5, 4.5, 10.5, 12.5]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn avg_pool2d(&self, kernel: impl PerAxis<2>) -> Self {
        self.pool2d("avg_pool2d", PoolOp::Avg, kernel.per_axis(), PoolOptions::default(), Location::caller())
    }

    /// [`Tensor::avg_pool2d`] with a stride or padding of its own, like `torch.nn.functional.avg_pool2d`.
    ///
    /// ```
    /// # use wgrad::{Device, PoolOptions, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::arange(0.0, 16.0, 1.0, &device)?.reshape([1, 1, 4, 4]);
    /// assert_eq!(x.avg_pool2d_with(3, PoolOptions::default().stride(1)).to_vec::<f32>()?, [5.0, 6.0, 9.0, 10.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn avg_pool2d_with(&self, kernel: impl PerAxis<2>, options: PoolOptions<2>) -> Self {
        self.pool2d("avg_pool2d", PoolOp::Avg, kernel.per_axis(), options, Location::caller())
    }

    pub(super) fn pool2d(
        &self,
        name: &'static str,
        op: PoolOp,
        kernel: [usize; 2],
        options: PoolOptions<2>,
        at: super::At,
    ) -> Self {
        Self::guard(name, &[self], at, |n| {
            let [h, w] = check_pool(n[0], op, kernel, &options)?;
            let shape = need_possible(&[n[0].shape[0], n[0].shape[1], h, w])?;
            let PoolOptions { stride, padding, dilation, count_include_pad } = options;
            let spec = PoolSpec { kernel, stride: stride.unwrap_or(kernel), padding, dilation, count_include_pad };
            Ok(Self::build(Op::Pool(op, spec), &[self], shape, n[0].dtype))
        })
    }
}
