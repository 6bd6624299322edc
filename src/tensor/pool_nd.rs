//! Pooling over one and three axes, to given sizes and over everything; windows as columns.

use super::band::{Band, Taps};
use super::geometry::Window;
use super::{At, Fault, PoolOptions, Tensor, need_few, need_float, need_possible};
use crate::dtype::DType;
use crate::graph::op::PoolOp;
use crate::lazy::Node;
use crate::shape::product;
use std::panic::Location;

/// Geometry of a pooling window over `D` axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolNdOptions<const D: usize> {
    /// The window's lengths.
    pub kernel: [usize; D],
    /// Step of the window. Defaults to the window's size.
    pub stride: Option<[usize; D]>,
    /// Padding on both sides, at most half the window: -∞ for max, 0 for average. Defaults to 0.
    pub padding: [usize; D],
    /// Distance between taps; max pooling only. Defaults to 1.
    pub dilation: [usize; D],
    /// Average only: padding counts in the divisor. Defaults to true.
    pub count_include_pad: bool,
}

impl<const D: usize> PoolNdOptions<D> {
    /// Windows of `kernel` taps along every axis, side by side.
    pub fn cube(kernel: usize) -> Self {
        Self { kernel: [kernel; D], stride: None, padding: [0; D], dilation: [1; D], count_include_pad: true }
    }

    /// The same over two of the axes; `None` stands for an axis without window.
    fn over(&self, axes: [Option<usize>; 2]) -> PoolOptions {
        let of = |values: [usize; D], none: usize| axes.map(|a| a.map_or(none, |a| values[a]));
        let stride = self.stride.unwrap_or(self.kernel);
        PoolOptions {
            kernel: of(self.kernel, 1),
            stride: Some(of(stride, 1)),
            padding: of(self.padding, 0),
            dilation: of(self.dilation, 1),
            count_include_pad: self.count_include_pad,
        }
    }
}

/// Geometry of [`Tensor::unfold`] and [`Tensor::fold`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoldOptions {
    /// The window's height and width.
    pub kernel: [usize; 2],
    /// Step of the window. Defaults to 1.
    pub stride: [usize; 2],
    /// Zeros on both sides. Defaults to 0.
    pub padding: [usize; 2],
    /// Distance between taps. Defaults to 1.
    pub dilation: [usize; 2],
}

impl FoldOptions {
    /// A square window that moves by 1.
    pub fn square(kernel: usize) -> Self {
        Self { kernel: [kernel; 2], stride: [1; 2], padding: [0; 2], dilation: [1; 2] }
    }

    fn window(&self, d: usize) -> Window {
        Window { kernel: self.kernel[d], dilation: self.dilation[d], stride: self.stride[d], padding: self.padding[d] }
    }

    /// How many windows there are along each axis.
    fn counts(&self, size: [usize; 2]) -> Result<[usize; 2], Fault> {
        let kernel = self.kernel;
        if kernel.contains(&0) {
            return Err(Fault::attribute(format!("kernel {kernel:?} must be at least 1"), "use positive values"));
        }
        let mut counts = [0; 2];
        for d in 0..2 {
            need_few("taps of a window", kernel[d])?;
            counts[d] = self.window(d).places(size[d])?;
        }
        Ok(counts)
    }
}

/// # Pooling over one and three axes, adaptive and global pooling, unfolding
impl Tensor {
    /// The largest value of each window of `[n, c, l]`: `out[i] = max_k x[i·stride - padding + k·dilation]`,
    /// `(l + 2·padding - dilation·(kernel - 1) - 1) / stride + 1` of them. Of equal ones the first takes the gradient. NaN
    /// wins.
    ///
    /// ```
    /// # use wgrad::{Device, PoolNdOptions, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 3.0, 2.0, 5.0], [1, 1, 4], &device)?;
    /// assert_eq!(x.max_pool1d(PoolNdOptions::cube(2)).to_vec::<f32>()?, [3.0, 5.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn max_pool1d(&self, options: PoolNdOptions<1>) -> Self {
        self.pool1d("max_pool1d", PoolOp::Max, options, Location::caller())
    }

    /// The mean of each window of `[n, c, l]`: `out[i] = Σ_k x[i·stride - padding + k] / kernel`,
    /// `(l + 2·padding - kernel) / stride + 1` of them. Without `count_include_pad` the divisor is the number of elements of x in
    /// the window.
    ///
    /// ```
    /// # use wgrad::{Device, PoolNdOptions, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 3.0, 2.0, 5.0], [1, 1, 4], &device)?;
    /// let options = PoolNdOptions { stride: Some([1]), ..PoolNdOptions::cube(2) };
    /// assert_eq!(x.avg_pool1d(options).to_vec::<f32>()?, [2.0, 2.5, 3.5]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn avg_pool1d(&self, options: PoolNdOptions<1>) -> Self {
        self.pool1d("avg_pool1d", PoolOp::Avg, options, Location::caller())
    }

    /// The largest value of each window of `[n, c, d, h, w]`, each axis as in [`Tensor::max_pool1d`]; of equal ones the first
    /// takes the gradient. NaN wins.
    ///
    /// ```
    /// # use wgrad::{Device, PoolNdOptions, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::arange(0.0, 8.0, 1.0, &device)?.reshape([1, 1, 2, 2, 2]);
    /// let options = PoolNdOptions { kernel: [2, 1, 2], ..PoolNdOptions::cube(2) };
    /// assert_eq!(x.max_pool3d(options).to_vec::<f32>()?, [5.0, 7.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn max_pool3d(&self, options: PoolNdOptions<3>) -> Self {
        self.pool3d("max_pool3d", PoolOp::Max, options, Location::caller())
    }

    /// The mean of each window of `[n, c, d, h, w]`, each axis as in [`Tensor::avg_pool1d`].
    ///
    /// ```
    /// # use wgrad::{Device, PoolNdOptions, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::full([1, 1, 1, 1, 1], 8.0, &device)?;
    /// let padded = PoolNdOptions { padding: [1; 3], ..PoolNdOptions::cube(2) };
    /// assert_eq!(x.avg_pool3d(padded).item()?, 1.0);
    /// assert_eq!(x.avg_pool3d(PoolNdOptions { count_include_pad: false, ..padded }).item()?, 8.0);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn avg_pool3d(&self, options: PoolNdOptions<3>) -> Self {
        self.pool3d("avg_pool3d", PoolOp::Avg, options, Location::caller())
    }

    fn pool1d(&self, name: &'static str, op: PoolOp, options: PoolNdOptions<1>, at: At) -> Self {
        Self::guard(name, &[self], at, |n| {
            check_pool(n[0], op, &options)?;
            Ok(self.unsqueeze(2).pool2d(op, options.over([None, Some(0)])).squeeze(2))
        })
    }

    fn pool3d(&self, name: &'static str, op: PoolOp, options: PoolNdOptions<3>, at: At) -> Self {
        Self::guard(name, &[self], at, |n| {
            let [od, oh, ow] = check_pool(n[0], op, &options)?;
            let x = n[0].shape;
            // Images first, then depth: of equal maxima the first in row-major order stays the first.
            let images = self.reshape([x[0], x[1] * x[2], x[3], x[4]]).pool2d(op, options.over([Some(1), Some(2)]));
            let columns = images.reshape([x[0], x[1], x[2], oh * ow]).pool2d(op, options.over([Some(0), None]));
            Ok(columns.reshape([x[0], x[1], od, oh, ow]))
        })
    }

    fn pool2d(&self, op: PoolOp, options: PoolOptions) -> Self {
        if op == PoolOp::Max { self.max_pool2d(options) } else { self.avg_pool2d(options) }
    }

    /// The means of `[n, c, h, w]` over a grid of `size` windows that cover the image: window i of `o` along an axis of
    /// length `l` is `⌊i·l/o⌋ .. ⌈(i+1)·l/o⌉`.
    ///
    /// A value reaches only the windows that hold it, also if it is not finite.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let x = Tensor::arange(0.0, 6.0, 1.0, &Device::cpu()?)?.reshape([1, 1, 2, 3]);
    /// assert_eq!(x.adaptive_avg_pool2d([1, 2]).to_vec::<f32>()?, [2.0, 3.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn adaptive_avg_pool2d(&self, size: [usize; 2]) -> Self {
        Self::guard("adaptive_avg_pool2d", &[self], Location::caller(), |n| {
            let [h, w] = check_adaptive(n[0], size)?;
            if h.is_multiple_of(size[0]) && w.is_multiple_of(size[1]) {
                let kernel = [h / size[0], w / size[1]];
                return Ok(self.avg_pool2d(PoolOptions { kernel, ..PoolOptions::square(1) }));
            }
            Ok(self.averages(3, w, size[1]).averages(2, h, size[0]))
        })
    }

    /// The largest values of `[n, c, h, w]` over a grid of `size` windows, as in [`Tensor::adaptive_avg_pool2d`]. Of equal
    /// ones the first takes the gradient.
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
    pub fn adaptive_max_pool2d(&self, size: [usize; 2]) -> Self {
        Self::guard("adaptive_max_pool2d", &[self], Location::caller(), |n| {
            let [h, w] = check_adaptive(n[0], size)?;
            if h.is_multiple_of(size[0]) && w.is_multiple_of(size[1]) {
                let kernel = [h / size[0], w / size[1]];
                return Ok(self.max_pool2d(PoolOptions { kernel, ..PoolOptions::square(1) }));
            }
            size.iter().try_for_each(|&s| need_few("windows", s))?;
            Ok(self.largest_of(1, w, size[1]).largest_of(0, h, size[0]))
        })
    }

    /// The means of `out` windows along an axis of length `len`.
    pub(super) fn averages(&self, axis: usize, len: usize, out: usize) -> Self {
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
    pub(super) fn largest_of(&self, axis: usize, len: usize, out: usize) -> Self {
        let windows: Vec<Self> = (0..out)
            .map(|i| {
                let (start, stop) = (i * len / out, ((i + 1) * len).div_ceil(out));
                let mut kernel = [1, 1];
                kernel[axis] = stop - start;
                let options = PoolOptions { kernel, ..PoolOptions::square(1) };
                self.slice(axis as isize + 2, start as isize, stop as isize).max_pool2d(options)
            })
            .collect();
        Self::cat(&windows.iter().collect::<Vec<_>>(), axis as isize + 2)
    }

    /// The mean over all positions: `[n, c, ..]` to `[n, c, 1, ..]`.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::arange(0.0, 4.0, 1.0, &device)?.reshape([1, 1, 2, 2]);
    /// assert_eq!(x.global_avg_pool().shape()?, [1, 1, 1, 1]);
    /// assert_eq!(x.global_avg_pool().item()?, 1.5);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn global_avg_pool(&self) -> Self {
        Self::guard("global_avg_pool", &[self], Location::caller(), |n| Ok(self.mean_keepdim(&positions(n[0])?)))
    }

    /// The largest value over all positions: `[n, c, ..]` to `[n, c, 1, ..]`. Equal ones share the gradient.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 5.0, -1.0, -2.0], [1, 2, 2], &device)?;
    /// assert_eq!(x.global_max_pool().to_vec::<f32>()?, [5.0, -1.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn global_max_pool(&self) -> Self {
        Self::guard("global_max_pool", &[self], Location::caller(), |n| Ok(self.max_keepdim(&positions(n[0])?)))
    }

    /// Windows as columns (im2col): `[n, c, h, w]` to `[n, c·kh·kw, oh·ow]`, as `torch.nn.functional.unfold`.
    ///
    /// ```
    /// # use wgrad::{Device, FoldOptions, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::arange(0.0, 6.0, 1.0, &device)?.reshape([1, 1, 2, 3]);
    /// let columns = x.unfold(FoldOptions::square(2));
    /// assert_eq!(columns.shape()?, [1, 4, 2]);
    /// assert_eq!(columns.t().to_vec::<f32>()?, [0.0, 1.0, 3.0, 4.0, 1.0, 2.0, 4.0, 5.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn unfold(&self, options: FoldOptions) -> Self {
        Self::guard("unfold", &[self], Location::caller(), |n| {
            need_image(n[0])?;
            let [batch, c, h, w] = [n[0].shape[0], n[0].shape[1], n[0].shape[2], n[0].shape[3]];
            let [oh, ow] = options.counts([h, w])?;
            let FoldOptions { kernel: [kh, kw], stride, padding, dilation } = options;
            let columns = [batch, product(&[c, kh, kw]), product(&[oh, ow])];
            need_possible(&columns)?;
            let padded = self.pad(&[(0, 0), (0, 0), (padding[0], padding[0]), (padding[1], padding[1])]);
            let across = padded.take_windows(3, kw, stride[1], dilation[1], ow);
            let windows = across.take_windows(2, kh, stride[0], dilation[0], oh);
            Ok(windows.permute(&[0, 1, 2, 4, 3, 5]).reshape(columns))
        })
    }

    /// The adjoint of [`Tensor::unfold`] (col2im): `[n, c·kh·kw, oh·ow]` to images `[n, c, h, w]` of `size`, where windows
    /// that overlap add up, as `torch.nn.functional.fold`.
    ///
    /// ```
    /// # use wgrad::{Device, FoldOptions, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let columns = Tensor::ones([1, 4, 2], &device)?;
    /// let y = columns.fold([2, 3], FoldOptions::square(2));
    /// assert_eq!(y.to_vec::<f32>()?, [1.0, 2.0, 1.0, 1.0, 2.0, 1.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn fold(&self, size: [usize; 2], options: FoldOptions) -> Self {
        Self::guard("fold", &[self], Location::caller(), |n| {
            need_float(n[0])?;
            let [oh, ow] = options.counts(size)?;
            let FoldOptions { kernel: [kh, kw], stride, padding, dilation } = options;
            let (x, taps) = (n[0].shape, product(&[kh, kw]));
            if x.rank() != 3 || !x[1].is_multiple_of(taps) || x[2] != product(&[oh, ow]) {
                let reason = format!("images of {size:?} have {oh} x {ow} windows of {kh} x {kw}, which {x} does not hold");
                return Err(Fault::shape(reason, "use [n, c·kh·kw, oh·ow], as unfold gives it"));
            }
            let c = x[1] / taps;
            let windows = self.reshape([x[0], c, kh, kw, oh, ow]).permute(&[0, 1, 2, 4, 3, 5]);
            let rows = windows.add_windows(2, stride[0], dilation[0], options.window(0).spread(oh)?)?;
            let images = rows.add_windows(3, stride[1], dilation[1], options.window(1).spread(ow)?)?;
            Ok(images.crop(2, padding[0], size[0]).crop(3, padding[1], size[1]))
        })
    }
}

fn need_image(x: &Node) -> Result<(), Fault> {
    need_float(x)?;
    if x.shape.rank() == 4 {
        return Ok(());
    }
    Err(Fault::shape("images must have 4 axes", "use [n, c, h, w]"))
}

/// The image's lengths after the first two axes.
pub(super) fn check_adaptive<const D: usize>(x: &Node, size: [usize; D]) -> Result<[usize; D], Fault> {
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

/// The axes after the first two.
fn positions(x: &Node) -> Result<Vec<isize>, Fault> {
    need_float(x)?;
    if x.shape.rank() < 3 {
        return Err(Fault::shape("there is no axis to pool over", "use [n, c, ..] with at least one more axis"));
    }
    if x.shape[2..].contains(&0) {
        return Err(Fault::shape("an axis to pool over has length 0", "give at least one element"));
    }
    Ok((2..x.shape.rank() as isize).collect())
}

/// The output's lengths.
fn check_pool<const D: usize>(x: &Node, op: PoolOp, options: &PoolNdOptions<D>) -> Result<[usize; D], Fault> {
    let PoolNdOptions { kernel, stride, padding, dilation, .. } = *options;
    let stride = stride.unwrap_or(kernel);
    need_float(x)?;
    if x.shape.rank() != D + 2 {
        let reason = format!("the input must have {} axes", D + 2);
        return Err(Fault::shape(reason, format!("use [n, c, ..] with {D} axes for ..")));
    }
    if kernel.contains(&0) {
        return Err(Fault::attribute(format!("kernel {kernel:?} must be at least 1"), "use positive values"));
    }
    if op == PoolOp::Avg && dilation != [1; D] {
        return Err(Fault::attribute("average pooling has no dilation", "use dilation 1"));
    }
    let mut size = [0; D];
    for d in 0..D {
        let len = x.shape[2 + d];
        if padding[d] > kernel[d] / 2 {
            let reason = format!("padding {padding:?} is more than half the window {kernel:?}");
            return Err(Fault::attribute(reason, "use at most half the window"));
        }
        size[d] = Window { kernel: kernel[d], dilation: dilation[d], stride: stride[d], padding: padding[d] }.places(len)?;
    }
    need_possible(&[&x.shape[..2], &size[..]].concat())?;
    Ok(size)
}
