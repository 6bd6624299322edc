//! Convolution and pooling over the last two axes of `[n, c, h, w]` images.

use super::geometry::Window;
use super::{Fault, Tensor, need_float, need_possible};
use crate::graph::Op;
use crate::graph::op::{ConvSpec, PoolOp, PoolSpec};
use crate::shape::product;
use std::panic::Location;

/// Geometry of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvOptions {
    /// Step of the window, vertical and horizontal. Defaults to 1.
    pub stride: [usize; 2],
    /// Zeros on both sides, vertical and horizontal. Defaults to 0.
    pub padding: [usize; 2],
    /// Distance between taps. Defaults to 1.
    pub dilation: [usize; 2],
    /// Groups of channels that do not see each other. Defaults to 1.
    pub groups: usize,
}

impl Default for ConvOptions {
    fn default() -> Self {
        Self { stride: [1, 1], padding: [0, 0], dilation: [1, 1], groups: 1 }
    }
}

/// Geometry of a pooling window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolOptions {
    /// The window's height and width.
    pub kernel: [usize; 2],
    /// Step of the window. Defaults to the window's size.
    pub stride: Option<[usize; 2]>,
    /// Padding on both sides, at most half the window: -∞ for max, 0 for average. Defaults to 0.
    pub padding: [usize; 2],
    /// Distance between taps; max pooling only. Defaults to 1.
    pub dilation: [usize; 2],
    /// Average only: padding counts in the divisor. Defaults to true.
    pub count_include_pad: bool,
}

impl PoolOptions {
    /// A square window that moves by its own size.
    pub fn square(kernel: usize) -> Self {
        Self { kernel: [kernel, kernel], stride: None, padding: [0, 0], dilation: [1, 1], count_include_pad: true }
    }

    /// With another stride.
    #[must_use]
    pub fn stride(mut self, stride: usize) -> Self {
        self.stride = Some([stride, stride]);
        self
    }

    /// With padding on all sides.
    #[must_use]
    pub fn padding(mut self, padding: usize) -> Self {
        self.padding = [padding, padding];
        self
    }
}

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
    pub fn conv2d(&self, weight: &Self, bias: Option<&Self>, options: ConvOptions) -> Self {
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
            let ConvOptions { stride, padding, dilation, groups } = options;
            if groups == 0 {
                return Err(Fault::attribute("there are no groups", "use at least 1"));
            }
            let (ci, co) = (x.shape[1], w.shape[0]);
            if ci != product(&[w.shape[1], groups]) || co % groups != 0 {
                let reason = format!(
                    "{ci} input channels and {co} output channels do not fit {groups} groups of weights with {} input channels",
                    w.shape[1]
                );
                return Err(Fault::shape(
                    reason,
                    "input channels must be groups times the weight's second axis; output channels a multiple of groups",
                ));
            }
            let size = |d: usize| {
                let window = Window { kernel: w.shape[2 + d], dilation: dilation[d], stride: stride[d], padding: padding[d] };
                window.places(x.shape[2 + d])
            };
            let shape = need_possible(&[x.shape[0], co, size(0)?, size(1)?])?;
            let spec = ConvSpec { stride, padding, dilation, groups };
            Ok(Self::build(Op::Conv2d(spec), &[self, weight], shape, x.dtype))
        });
        let Some(bias) = bias else { return out };
        let channels = weight.node().map_or(0, |w| w.shape.first().copied().unwrap_or(0));
        let fits = bias.node().map_or(true, |b| b.shape == [channels]);
        if !fits {
            let fault = Fault::shape(format!("the bias must have shape [{channels}]"), "give one value per output channel");
            return Self::refuse("conv2d", &[self, weight, bias], at, fault);
        }
        out + bias.reshape([1, channels, 1, 1])
    }

    /// The largest value of each window of `[n, c, h, w]`, each axis as in [`Tensor::max_pool1d`]; of equal ones the first
    /// takes the gradient. NaN wins.
    ///
    /// ```
    /// # use wgrad::{Device, PoolOptions, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::arange(0.0, 16.0, 1.0, &device)?.reshape([1, 1, 4, 4]);
    /// assert_eq!(x.max_pool2d(PoolOptions::square(2)).to_vec::<f32>()?, [5.0, 7.0, 13.0, 15.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn max_pool2d(&self, options: PoolOptions) -> Self {
        self.pool("max_pool2d", PoolOp::Max, options, Location::caller())
    }

    /// The mean of each window of `[n, c, h, w]`, each axis as in [`Tensor::avg_pool1d`].
    ///
    /// ```
    /// # use wgrad::{Device, PoolOptions, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::arange(0.0, 16.0, 1.0, &device)?.reshape([1, 1, 4, 4]);
    /// assert_eq!(x.avg_pool2d(PoolOptions::square(2)).to_vec::<f32>()?, [2.5, 4.5, 10.5, 12.5]);
    /// assert_eq!(x.avg_pool2d(PoolOptions::square(3).stride(1)).shape()?, [1, 1, 2, 2]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn avg_pool2d(&self, options: PoolOptions) -> Self {
        self.pool("avg_pool2d", PoolOp::Avg, options, Location::caller())
    }

    fn pool(&self, name: &'static str, op: PoolOp, options: PoolOptions, at: super::At) -> Self {
        Self::guard(name, &[self], at, |n| {
            let PoolOptions { kernel, stride, padding, dilation, count_include_pad } = options;
            let stride = stride.unwrap_or(kernel);
            need_float(n[0])?;
            if n[0].shape.rank() != 4 {
                return Err(Fault::shape("images must have 4 axes", "use [n, c, h, w]"));
            }
            if kernel.contains(&0) {
                return Err(Fault::attribute(format!("kernel {kernel:?} must be at least 1"), "use positive values"));
            }
            if op == PoolOp::Avg && dilation != [1, 1] {
                return Err(Fault::attribute("average pooling has no dilation", "use dilation 1"));
            }
            if (0..2).any(|d| padding[d] > kernel[d] / 2) {
                let reason = format!("padding {padding:?} is more than half the window {kernel:?}");
                return Err(Fault::attribute(reason, "use at most half the window"));
            }
            let size = |d: usize| {
                Window { kernel: kernel[d], dilation: dilation[d], stride: stride[d], padding: padding[d] }
                    .places(n[0].shape[2 + d])
            };
            let shape = need_possible(&[n[0].shape[0], n[0].shape[1], size(0)?, size(1)?])?;
            let spec = PoolSpec { kernel, stride, padding, dilation, count_include_pad };
            Ok(Self::build(Op::Pool(op, spec), &[self], shape, n[0].dtype))
        })
    }
}
