//! Pooling over one and three axes, and over everything; windows as columns.

use super::geometry::Window;
use super::{At, Fault, FoldOptions, PoolOptions, Tensor, need_few, need_float, need_possible};
use crate::graph::op::PoolOp;
use crate::lazy::Node;
use crate::shape::{PerAxis, product};
use std::panic::Location;

/// A window and how it moves over two of the axes; `None` stands for an axis without a window.
fn over<const D: usize>(axes: [Option<usize>; 2], kernel: [usize; D], options: &PoolOptions<D>) -> ([usize; 2], PoolOptions<2>) {
    let of = |values: [usize; D], none: usize| axes.map(|a| a.map_or(none, |a| values[a]));
    let flat = PoolOptions {
        stride: Some(of(options.stride.unwrap_or(kernel), 1)),
        padding: of(options.padding, 0),
        dilation: of(options.dilation, 1),
        count_include_pad: options.count_include_pad,
    };
    (of(kernel, 1), flat)
}

/// The window of a fold along axis `d`.
fn fold_window(kernel: [usize; 2], options: &FoldOptions, d: usize) -> Window {
    Window { kernel: kernel[d], dilation: options.dilation[d], stride: options.stride[d], padding: options.padding[d] }
}

/// How many windows there are along each axis.
fn fold_counts(kernel: [usize; 2], options: &FoldOptions, size: [usize; 2]) -> Result<[usize; 2], Fault> {
    if kernel.contains(&0) {
        return Err(Fault::attribute(format!("kernel {kernel:?} must be at least 1"), "use positive values"));
    }
    let mut counts = [0; 2];
    for d in 0..2 {
        need_few("taps of a window", kernel[d])?;
        counts[d] = fold_window(kernel, options, d).places(size[d])?;
    }
    Ok(counts)
}

/// # Pooling over one and three axes, adaptive and global pooling, unfolding
impl Tensor {
    /// The largest value of each window of `[n, c, l]`, windows of `kernel` side by side: `out[i] = max_k x[i·kernel + k]`. Of
    /// equal ones the first gets the gradient. NaN wins.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 3.0, 2.0, 5.0], [1, 1, 4], &device)?;
    /// assert_eq!(x.max_pool1d(2).to_vec::<f32>()?, [3.0, 5.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn max_pool1d(&self, kernel: impl PerAxis<1>) -> Self {
        self.pool1d("max_pool1d", PoolOp::Max, kernel.per_axis(), PoolOptions::default(), Location::caller())
    }

    /// [`Tensor::max_pool1d`] with a stride, padding or dilation of its own: `out[i] = max_k x[i·stride - padding + k·dilation]`,
    /// `(l + 2·padding - dilation·(kernel - 1) - 1) / stride + 1` of them.
    ///
    /// ```
    /// # use wgrad::{Device, PoolOptions, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 3.0, 2.0, 5.0], [1, 1, 4], &device)?;
    /// assert_eq!(x.max_pool1d_with(2, PoolOptions::default().stride(1)).to_vec::<f32>()?, [3.0, 3.0, 5.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn max_pool1d_with(&self, kernel: impl PerAxis<1>, options: PoolOptions<1>) -> Self {
        self.pool1d("max_pool1d", PoolOp::Max, kernel.per_axis(), options, Location::caller())
    }

    /// The mean of each window of `[n, c, l]`, windows of `kernel` side by side: `out[i] = Σ_k x[i·kernel + k] / kernel`.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 3.0, 2.0, 5.0], [1, 1, 4], &device)?;
    /// assert_eq!(x.avg_pool1d(2).to_vec::<f32>()?, [2.0, 3.5]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn avg_pool1d(&self, kernel: impl PerAxis<1>) -> Self {
        self.pool1d("avg_pool1d", PoolOp::Avg, kernel.per_axis(), PoolOptions::default(), Location::caller())
    }

    /// [`Tensor::avg_pool1d`] with a stride or padding of its own: `out[i] = Σ_k x[i·stride - padding + k] / kernel`,
    /// `(l + 2·padding - kernel) / stride + 1` of them. Without `count_include_pad` the divisor is the number of elements of x in
    /// the window.
    ///
    /// ```
    /// # use wgrad::{Device, PoolOptions, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 3.0, 2.0, 5.0], [1, 1, 4], &device)?;
    /// assert_eq!(x.avg_pool1d_with(2, PoolOptions::default().stride(1)).to_vec::<f32>()?, [2.0, 2.5, 3.5]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn avg_pool1d_with(&self, kernel: impl PerAxis<1>, options: PoolOptions<1>) -> Self {
        self.pool1d("avg_pool1d", PoolOp::Avg, kernel.per_axis(), options, Location::caller())
    }

    /// The largest value of each window of `[n, c, d, h, w]`, windows of `kernel` side by side, each axis as in
    /// [`Tensor::max_pool1d`]; of equal ones the first gets the gradient. NaN wins.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::arange(0.0, 8.0, 1.0, &device)?.reshape([1, 1, 2, 2, 2]);
    /// assert_eq!(x.max_pool3d([2, 1, 2]).to_vec::<f32>()?, [5.0, 7.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn max_pool3d(&self, kernel: impl PerAxis<3>) -> Self {
        self.pool3d("max_pool3d", PoolOp::Max, kernel.per_axis(), PoolOptions::default(), Location::caller())
    }

    /// [`Tensor::max_pool3d`] with a stride, padding or dilation of its own, each axis as in [`Tensor::max_pool1d_with`].
    ///
    /// ```
    /// # use wgrad::{Device, PoolOptions, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::arange(0.0, 8.0, 1.0, &device)?.reshape([1, 1, 2, 2, 2]);
    /// assert_eq!(x.max_pool3d_with([2, 1, 1], PoolOptions { stride: Some([1, 1, 2]), ..Default::default() }).to_vec::<f32>()?, [4.0, 6.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn max_pool3d_with(&self, kernel: impl PerAxis<3>, options: PoolOptions<3>) -> Self {
        self.pool3d("max_pool3d", PoolOp::Max, kernel.per_axis(), options, Location::caller())
    }

    /// The mean of each window of `[n, c, d, h, w]`, windows of `kernel` side by side, each axis as in [`Tensor::avg_pool1d`].
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::arange(0.0, 8.0, 1.0, &device)?.reshape([1, 1, 2, 2, 2]);
    /// assert_eq!(x.avg_pool3d(2).item()?, 3.5);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn avg_pool3d(&self, kernel: impl PerAxis<3>) -> Self {
        self.pool3d("avg_pool3d", PoolOp::Avg, kernel.per_axis(), PoolOptions::default(), Location::caller())
    }

    /// [`Tensor::avg_pool3d`] with a stride or padding of its own, each axis as in [`Tensor::avg_pool1d_with`].
    ///
    /// ```
    /// # use wgrad::{Device, PoolOptions, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::full([1, 1, 1, 1, 1], 8.0, &device)?;
    /// let padded = PoolOptions::default().padding(1);
    /// assert_eq!(x.avg_pool3d_with(2, padded).item()?, 1.0);
    /// assert_eq!(x.avg_pool3d_with(2, padded.count_include_pad(false)).item()?, 8.0);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn avg_pool3d_with(&self, kernel: impl PerAxis<3>, options: PoolOptions<3>) -> Self {
        self.pool3d("avg_pool3d", PoolOp::Avg, kernel.per_axis(), options, Location::caller())
    }

    fn pool1d(&self, name: &'static str, op: PoolOp, kernel: [usize; 1], options: PoolOptions<1>, at: At) -> Self {
        Self::guard(name, &[self], at, |n| {
            check_pool(n[0], op, kernel, &options)?;
            let (kernel, options) = over([None, Some(0)], kernel, &options);
            Ok(self.unsqueeze(2).pool2d(name, op, kernel, options, at).squeeze(2))
        })
    }

    fn pool3d(&self, name: &'static str, op: PoolOp, kernel: [usize; 3], options: PoolOptions<3>, at: At) -> Self {
        Self::guard(name, &[self], at, |n| {
            let [od, oh, ow] = check_pool(n[0], op, kernel, &options)?;
            let x = n[0].shape;
            // Images first, then depth: of equal maxima the first in row-major order stays the first.
            let images = self.reshape([x[0], x[1] * x[2], x[3], x[4]]);
            let (across, of_images) = over([Some(1), Some(2)], kernel, &options);
            let images = images.pool2d(name, op, across, of_images, at);
            let (deep, of_columns) = over([Some(0), None], kernel, &options);
            let columns = images.reshape([x[0], x[1], x[2], oh * ow]).pool2d(name, op, deep, of_columns, at);
            Ok(columns.reshape([x[0], x[1], od, oh, ow]))
        })
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

    /// Windows as columns (im2col): `[n, c, h, w]` to `[n, c·kh·kw, oh·ow]`, like `torch.nn.functional.unfold`.
    ///
    /// ```
    /// # use wgrad::{Device, FoldOptions, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::arange(0.0, 6.0, 1.0, &device)?.reshape([1, 1, 2, 3]);
    /// let columns = x.unfold(2, FoldOptions::default());
    /// assert_eq!(columns.shape()?, [1, 4, 2]);
    /// assert_eq!(columns.t().to_vec::<f32>()?, [0.0, 1.0, 3.0, 4.0, 1.0, 2.0, 4.0, 5.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn unfold(&self, kernel: impl PerAxis<2>, options: FoldOptions) -> Self {
        let kernel @ [kh, kw] = kernel.per_axis();
        Self::guard("unfold", &[self], Location::caller(), |n| {
            need_image(n[0])?;
            let [batch, c, h, w] = [n[0].shape[0], n[0].shape[1], n[0].shape[2], n[0].shape[3]];
            let [oh, ow] = fold_counts(kernel, &options, [h, w])?;
            let FoldOptions { stride, padding, dilation } = options;
            let columns = [batch, product(&[c, kh, kw]), product(&[oh, ow])];
            need_possible(&columns)?;
            let padded = self.pad(&[(0, 0), (0, 0), (padding[0], padding[0]), (padding[1], padding[1])]);
            let across = padded.take_windows(3, kw, stride[1], dilation[1], ow);
            let windows = across.take_windows(2, kh, stride[0], dilation[0], oh);
            Ok(windows.permute(&[0, 1, 2, 4, 3, 5]).reshape(columns))
        })
    }

    /// The adjoint of [`Tensor::unfold`] (col2im): `[n, c·kh·kw, oh·ow]` to images `[n, c, h, w]` of `size`, where windows that
    /// overlap add up, like `torch.nn.functional.fold`.
    ///
    /// ```
    /// # use wgrad::{Device, FoldOptions, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let columns = Tensor::ones([1, 4, 2], &device)?;
    /// let y = columns.fold([2, 3], 2, FoldOptions::default());
    /// assert_eq!(y.to_vec::<f32>()?, [1.0, 2.0, 1.0, 1.0, 2.0, 1.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn fold(&self, size: impl PerAxis<2>, kernel: impl PerAxis<2>, options: FoldOptions) -> Self {
        let (size, kernel @ [kh, kw]) = (size.per_axis(), kernel.per_axis());
        Self::guard("fold", &[self], Location::caller(), |n| {
            need_float(n[0])?;
            let [oh, ow] = fold_counts(kernel, &options, size)?;
            let FoldOptions { stride, padding, dilation } = options;
            let (x, taps) = (n[0].shape, product(&[kh, kw]));
            if x.rank() != 3 || !x[1].is_multiple_of(taps) || x[2] != product(&[oh, ow]) {
                let reason = format!("images of {size:?} have {oh} x {ow} windows of {kh} x {kw}, which {x} does not contain");
                return Err(Fault::shape(reason, "use [n, c·kh·kw, oh·ow], as unfold gives it"));
            }
            let c = x[1] / taps;
            let windows = self.reshape([x[0], c, kh, kw, oh, ow]).permute(&[0, 1, 2, 4, 3, 5]);
            let rows = windows.add_windows(2, stride[0], dilation[0], fold_window(kernel, &options, 0).spread(oh)?)?;
            let images = rows.add_windows(3, stride[1], dilation[1], fold_window(kernel, &options, 1).spread(ow)?)?;
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
pub(super) fn check_pool<const D: usize>(
    x: &Node,
    op: PoolOp,
    kernel: [usize; D],
    options: &PoolOptions<D>,
) -> Result<[usize; D], Fault> {
    let PoolOptions { stride, padding, dilation, .. } = *options;
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
