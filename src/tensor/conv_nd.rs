//! Convolutions over one and three axes, and transposed ones, through the 2-D kernels.

use super::fault::need_channels;
use super::geometry::Window;
use super::{Fault, Tensor, need_few, need_float, need_possible};
use crate::error::counted;
use crate::graph::Op;
use crate::graph::op::ConvSpec;
use crate::lazy::Node;
use crate::shape::{Shape, product};
use crate::tensor::{At, ConvOptions, ConvTransposeOptions};
use std::panic::Location;
use std::sync::Arc;

/// # Convolution over one and three axes, transposed convolution
impl Tensor {
    /// 1-D cross-correlation: `[n, ci, l]` with weights `[co, ci/groups, k]` give `[n, co, ol]`,
    /// `ol = (l + 2·padding - dilation·(k - 1) - 1) / stride + 1`. `bias` is `[co]`. For one group, with zeros outside x,
    /// `out[o, i] = bias[o] + Σ weight[o, c, p] · x[c, i·stride - padding + p·dilation]` over the channels c and the taps p.
    ///
    /// ```
    /// # use wgrad::{ConvOptions, Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 2.0, 4.0, 8.0], [1, 1, 4], &device)?;
    /// let w = Tensor::from_slice(&[-1.0f32, 1.0], [1, 1, 2], &device)?;
    /// assert_eq!(x.conv1d(&w, None, ConvOptions::default()).to_vec::<f32>()?, [1.0, 2.0, 4.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn conv1d(&self, weight: &Self, bias: Option<&Self>, options: ConvOptions<1>) -> Self {
        let at = Location::caller();
        let out = Self::guard("conv1d", &[self, weight], at, |n| {
            check_conv(n, &options)?;
            let ConvOptions { stride: [s], padding: [p], dilation: [d], groups, .. } = options;
            let flat = ConvOptions { stride: [1, s], padding: [0, p], dilation: [1, d], groups, bias: true };
            Ok(self.unsqueeze(2).conv2d(&weight.unsqueeze(2), None, flat).squeeze(2))
        });
        out.with_bias("conv1d", &[self, weight], bias, options.bias, at)
    }

    /// 3-D cross-correlation: `[n, ci, d, h, w]` with weights `[co, ci/groups, kd, kh, kw]` give `[n, co, od, oh, ow]`, each
    /// axis as in [`Tensor::conv2d`]. `bias` is `[co]`.
    ///
    /// The windows along d become channels of one 2-D convolution: `kd` copies of the input in memory.
    ///
    /// ```
    /// # use wgrad::{ConvOptions, Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::arange(0.0, 8.0, 1.0, &device)?.reshape([1, 1, 2, 2, 2]);
    /// let w = Tensor::ones([1, 1, 2, 1, 1], &device)?;
    /// let y = x.conv3d(&w, None, ConvOptions::default());
    /// assert_eq!(y.to_vec::<f32>()?, [0.0 + 4.0, 1.0 + 5.0, 2.0 + 6.0, 3.0 + 7.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn conv3d(&self, weight: &Self, bias: Option<&Self>, options: ConvOptions<3>) -> Self {
        let at = Location::caller();
        let out = Self::guard("conv3d", &[self, weight], at, |n| {
            let [od, oh, ow] = check_conv(n, &options)?;
            need_few("taps of a window", n[1].shape[2])?;
            let ConvOptions { stride, padding, dilation, groups, .. } = options;
            let (x, w) = (n[0].shape, n[1].shape);
            let mut around = [(0, 0); 5];
            around[2] = (padding[0], padding[0]);
            // [n, ci, kd, od, h, w] to [n·od, ci·kd, h, w].
            let taps = self.pad(&around).take_windows(2, w[2], stride[0], dilation[0], od);
            let images = taps.permute(&[0, 3, 1, 2, 4, 5]).reshape([product(&[x[0], od]), product(&[x[1], w[2]]), x[3], x[4]]);
            let flat = ConvOptions {
                stride: [stride[1], stride[2]],
                padding: [padding[1], padding[2]],
                dilation: [dilation[1], dilation[2]],
                groups,
                bias: true,
            };
            let y = images.conv2d(&weight.reshape([w[0], w[1] * w[2], w[3], w[4]]), None, flat);
            Ok(y.reshape([x[0], od, w[0], oh, ow]).permute(&[0, 2, 1, 3, 4]))
        });
        out.with_bias("conv3d", &[self, weight], bias, options.bias, at)
    }

    /// The transpose of a 1-D convolution: `[n, ci, l]` with weights `[ci, co/groups, k]` give `[n, co, ol]`,
    /// `ol = (l - 1)·stride - 2·padding + dilation·(k - 1) + output_padding + 1`. Element i is multiplied by the whole kernel,
    /// and the product added at `i·stride - padding` and every `dilation` from there. `bias` is `[co]`.
    ///
    /// ```
    /// # use wgrad::{ConvTransposeOptions, Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 2.0], [1, 1, 2], &device)?;
    /// let w = Tensor::from_slice(&[1.0f32, 10.0], [1, 1, 2], &device)?;
    /// let y = x.conv_transpose1d(&w, None, ConvTransposeOptions::default().stride(2));
    /// assert_eq!(y.to_vec::<f32>()?, [1.0, 10.0, 2.0, 20.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn conv_transpose1d(&self, weight: &Self, bias: Option<&Self>, options: ConvTransposeOptions<1>) -> Self {
        let at = Location::caller();
        let out = Self::guard("conv_transpose1d", &[self, weight], at, |n| {
            check_transpose(n, &options)?;
            let flat = ConvTransposeOptions {
                stride: [1, options.stride[0]],
                padding: [0, options.padding[0]],
                output_padding: [0, options.output_padding[0]],
                dilation: [1, options.dilation[0]],
                groups: options.groups,
                bias: true,
            };
            Ok(self.unsqueeze(2).conv_transpose2d(&weight.unsqueeze(2), None, flat).squeeze(2))
        });
        out.with_bias("conv_transpose1d", &[self, weight], bias, options.bias, at)
    }

    /// The transpose of a 2-D convolution, which is its gradient with respect to the input: `[n, ci, h, w]` with weights
    /// `[ci, co/groups, kh, kw]` give `[n, co, oh, ow]`,
    /// `oh = (h - 1)·stride - 2·padding + dilation·(kh - 1) + output_padding + 1`. `bias` is `[co]`.
    ///
    /// Source: M. Zeiler et al., "Deconvolutional networks", 2010.
    ///
    /// ```
    /// # use wgrad::{ConvTransposeOptions, Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 2.0], [1, 1, 1, 2], &device)?;
    /// let w = Tensor::ones([1, 1, 2, 2], &device)?;
    /// let y = x.conv_transpose2d(&w, None, ConvTransposeOptions::default());
    /// assert_eq!(y.to_vec::<f32>()?, [1.0, 3.0, 2.0, 1.0, 3.0, 2.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn conv_transpose2d(&self, weight: &Self, bias: Option<&Self>, options: ConvTransposeOptions<2>) -> Self {
        let at = Location::caller();
        let out = Self::guard("conv_transpose2d", &[self, weight], at, |n| {
            let size = check_transpose(n, &options)?;
            let ConvTransposeOptions { stride, padding, output_padding, dilation, groups, .. } = options;
            let channels = product(&[n[1].shape[1], groups]);
            let build = |padding, [h, w]: [usize; 2]| {
                let spec = ConvSpec { stride, padding, dilation, groups };
                let shape = need_possible(&[n[0].shape[0], channels, h, w])?;
                Ok::<_, Fault>(Self::build(Op::Conv2dInputGrad(spec), &[self, weight], shape, n[0].dtype))
            };
            if (0..2).all(|d| output_padding[d] < stride[d]) {
                return build(padding, size);
            }
            // More output padding than a convolution of this stride leaves over: everything, then the wanted part.
            let full = |d: usize| {
                let window = Window { kernel: n[1].shape[2 + d], dilation: dilation[d], stride: stride[d], padding: 0 };
                window.spread(n[0].shape[2 + d])
            };
            Ok(build([0, 0], [full(0)?, full(1)?])?.crop(2, padding[0], size[0]).crop(3, padding[1], size[1]))
        });
        out.with_bias("conv_transpose2d", &[self, weight], bias, options.bias, at)
    }

    /// The transpose of a 3-D convolution: `[n, ci, d, h, w]` with weights `[ci, co/groups, kd, kh, kw]` give
    /// `[n, co, od, oh, ow]`, each axis as in [`Tensor::conv_transpose2d`]. `bias` is `[co]`.
    ///
    /// ```
    /// # use wgrad::{ConvTransposeOptions, Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::ones([1, 1, 2, 2, 2], &device)?;
    /// let w = Tensor::ones([1, 5, 3, 3, 3], &device)?;
    /// let y = x.conv_transpose3d(&w, None, ConvTransposeOptions::default().stride(2).padding(1));
    /// assert_eq!(y.shape()?, [1, 5, 3, 3, 3]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn conv_transpose3d(&self, weight: &Self, bias: Option<&Self>, options: ConvTransposeOptions<3>) -> Self {
        let at = Location::caller();
        let out = Self::guard("conv_transpose3d", &[self, weight], at, |n| {
            let [od, oh, ow] = check_transpose(n, &options)?;
            need_few("taps of a window", n[1].shape[2])?;
            let ConvTransposeOptions { stride, padding, output_padding, dilation, groups, .. } = options;
            let (x, w) = (n[0].shape, n[1].shape);
            let images = self.permute(&[0, 2, 1, 3, 4]).reshape([x[0] * x[2], x[1], x[3], x[4]]);
            let flat = ConvTransposeOptions {
                stride: [stride[1], stride[2]],
                padding: [padding[1], padding[2]],
                output_padding: [output_padding[1], output_padding[2]],
                dilation: [dilation[1], dilation[2]],
                groups,
                bias: true,
            };
            // Every tap along d is a channel, then added up where it belongs.
            let y = images.conv_transpose2d(&weight.reshape([x[1], w[1] * w[2], w[3], w[4]]), None, flat);
            let taps = y.reshape([x[0], x[2], product(&[w[1], groups]), w[2], oh, ow]).permute(&[0, 2, 3, 1, 4, 5]);
            let window = Window { kernel: w[2], dilation: dilation[0], stride: stride[0], padding: 0 };
            let full = window.spread(x[2])?;
            Ok(taps.add_windows(2, stride[0], dilation[0], full)?.crop(2, padding[0], od))
        });
        out.with_bias("conv_transpose3d", &[self, weight], bias, options.bias, at)
    }

    /// Zeros around the last axes so that a convolution of stride 1 with this kernel keeps their lengths:
    /// `dilation·(k - 1)` each, half of it in front and the larger half at the end, like PyTorch's `padding="same"`.
    ///
    /// ```
    /// # use wgrad::{ConvOptions, Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let x = Tensor::ones([1, 1, 5, 6], &Device::cpu()?)?;
    /// let w = Tensor::ones([1, 1, 2, 3], &Device::cpu()?)?;
    /// let y = x.pad_same(&[2, 3], &[1, 1]).conv2d(&w, None, ConvOptions::default());
    /// assert_eq!(y.shape()?, [1, 1, 5, 6]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn pad_same(&self, kernel: &[usize], dilation: &[usize]) -> Self {
        Self::guard("pad_same", &[self], Location::caller(), |n| {
            let rank = n[0].shape.rank();
            if kernel.len() != dilation.len() || kernel.len() > rank {
                let reason = format!("{} taps and {} dilations were given for {rank} axes", kernel.len(), dilation.len());
                return Err(Fault::attribute(reason, "give one of each for each of the last axes"));
            }
            if kernel.contains(&0) || dilation.contains(&0) {
                let reason = format!("kernel {kernel:?} and dilation {dilation:?} must be at least 1");
                return Err(Fault::attribute(reason, "use positive values"));
            }
            let mut around = vec![(0, 0); rank - kernel.len()];
            for (&k, &d) in kernel.iter().zip(dilation) {
                let total = d.saturating_mul(k - 1);
                around.push((total / 2, total - total / 2));
            }
            Ok(self.pad(&around))
        })
    }

    // ---- windows along one axis, shared with `pool_nd` ----

    /// Replaces an axis with `[kernel, count]`: tap k of window i is element `k·dilation + i·stride`.
    pub(super) fn take_windows(&self, axis: usize, kernel: usize, stride: usize, dilation: usize, count: usize) -> Self {
        let taps: Vec<Self> = (0..kernel)
            .map(|k| {
                let start = k * dilation;
                self.slice_step(axis as isize, start as isize, (start + (count - 1) * stride + 1) as isize, stride as isize)
            })
            .collect();
        Self::stack(&taps.iter().collect::<Vec<_>>(), axis as isize)
    }

    /// The adjoint of [`Tensor::take_windows`]: merges axes `[kernel, count]` into one of length `len`, adding up.
    pub(super) fn add_windows(&self, axis: usize, stride: usize, dilation: usize, len: usize) -> Result<Self, Fault> {
        let failed = |e: crate::error::Error| Fault::shape(e.to_string(), "check the operand");
        let shape = self.shape().map_err(failed)?;
        let mut dims = shape.to_vec();
        let kernel = dims.remove(axis);
        let mut steps = vec![1; dims.len()];
        steps[axis] = stride as i64;
        dims[axis] = len;
        let full = Shape::new(&dims).map_err(failed)?;
        let mut sum: Option<Self> = None;
        for k in 0..kernel {
            let mut starts = vec![0; dims.len()];
            starts[axis] = (k * dilation) as i64;
            let tap = self.slice(axis as isize, k as isize, k as isize + 1).squeeze(axis as isize);
            let placed = tap.unslice(&full, &starts, &steps).map_err(failed)?;
            sum = Some(sum.map_or(placed.clone(), |s| s + placed));
        }
        Ok(sum.unwrap_or_else(|| self.scalar_like(0.0).broadcast_to(full)))
    }

    /// `len` elements of an axis from `start` on; zeros past the end.
    pub(super) fn crop(&self, axis: usize, start: usize, len: usize) -> Self {
        let Ok(shape) = self.shape() else { return self.clone() };
        let mut behind = vec![(0, 0); shape.rank()];
        behind[axis].1 = (start + len).saturating_sub(shape[axis]);
        self.pad(&behind).slice(axis as isize, start as isize, (start + len) as isize)
    }

    /// Adds one value per output channel (axis 1), if `wanted`.
    pub(super) fn with_bias(self, op: &'static str, operands: &[&Self], bias: Option<&Self>, wanted: bool, at: At) -> Self {
        let Some(bias) = bias else { return self };
        if !wanted {
            let fault =
                Fault::attribute("a bias was given, but the options have none", "give None, or options whose bias is true");
            return Self::refuse(op, &[operands, &[bias]].concat(), at, fault);
        }
        let Ok(shape) = self.shape() else { return self };
        let channels = shape[1];
        if bias.shape().is_ok_and(|b| b != [channels]) {
            let fault = Fault::shape(format!("the bias must have shape [{channels}]"), "give one value per output channel");
            return Self::refuse(op, &[operands, &[bias]].concat(), at, fault);
        }
        let mut dims = vec![1; shape.rank()];
        dims[1] = channels;
        self + bias.reshape(dims)
    }
}

/// Ranks, dtypes, and attributes that must be positive.
fn check_operands<const D: usize>(n: &[&Arc<Node>], positive: &[(&str, &[usize])], weights: &str) -> Result<(), Fault> {
    let (x, w) = (n[0], n[1]);
    need_float(x)?;
    if x.dtype != w.dtype {
        return Err(Fault::dtype(format!("dtypes {} and {} differ", x.dtype, w.dtype), "cast one"));
    }
    if x.shape.rank() != D + 2 || w.shape.rank() != D + 2 {
        let reason = format!("input and weights must have {} axes", D + 2);
        return Err(Fault::shape(reason, format!("use an input [n, c, ..] and weights {weights}, with {D} axes for ..")));
    }
    for (name, values) in positive {
        if values.contains(&0) {
            return Err(Fault::attribute(format!("{name} {values:?} must be at least 1"), "use positive values"));
        }
    }
    if w.shape[2..].contains(&0) {
        return Err(Fault::shape("the kernel has no taps", "use a kernel of at least one tap"));
    }
    Ok(())
}

/// The output's lengths.
fn check_conv<const D: usize>(n: &[&Arc<Node>], options: &ConvOptions<D>) -> Result<[usize; D], Fault> {
    let ConvOptions { stride, padding, dilation, groups, .. } = options;
    check_operands::<D>(n, &[("stride", stride), ("dilation", dilation), ("groups", &[*groups])], "[co, ci/groups, ..]")?;
    let (x, w) = (n[0].shape, n[1].shape);
    need_channels(x[1], &w, *groups)?;
    let mut size = [0; D];
    for d in 0..D {
        let (len, k) = (x[2 + d], w[2 + d]);
        size[d] = Window { kernel: k, dilation: dilation[d], stride: stride[d], padding: padding[d] }.places(len)?;
    }
    need_possible(&[&[x[0], w[0]], &size[..]].concat())?;
    Ok(size)
}

/// The output's lengths.
fn check_transpose<const D: usize>(n: &[&Arc<Node>], options: &ConvTransposeOptions<D>) -> Result<[usize; D], Fault> {
    let ConvTransposeOptions { stride, padding, output_padding, dilation, groups, .. } = options;
    check_operands::<D>(n, &[("stride", stride), ("dilation", dilation), ("groups", &[*groups])], "[ci, co/groups, ..]")?;
    let (x, w) = (n[0].shape, n[1].shape);
    if x[1] != w[0] {
        let reason = format!("the input has {}, and the weight {w} takes {}", counted(x[1], "channel"), w[0]);
        return Err(Fault::shape(reason, "the weight's first axis is the input's channels"));
    }
    if !x[1].is_multiple_of(*groups) {
        let reason = format!("{} cannot be split into {groups} groups", counted(x[1], "input channel"));
        return Err(Fault::shape(reason, "use a number of groups that divides the channels"));
    }
    let mut size = [0; D];
    for d in 0..D {
        if output_padding[d] >= stride[d].max(dilation[d]) {
            let reason = format!("output_padding {output_padding:?} must be below stride {stride:?} or dilation {dilation:?}");
            return Err(Fault::attribute(reason, "use less"));
        }
        if x[2 + d] == 0 {
            return Err(Fault::shape(format!("axis {} of the input has length 0", 2 + d), "give at least one element"));
        }
        let window = Window { kernel: w[2 + d], dilation: dilation[d], stride: stride[d], padding: padding[d] };
        // Output padding is below the stride or the dilation.
        let full = window.spread(x[2 + d])? + output_padding[d];
        size[d] = full.checked_sub(padding[d].saturating_mul(2)).filter(|&s| s > 0).ok_or_else(|| {
            let reason = format!("padding {} on both sides leaves nothing of {full} elements", padding[d]);
            Fault::shape(reason, "pad less")
        })?;
    }
    need_possible(&[&[x[0], product(&[w[1], *groups])], &size[..]].concat())?;
    Ok(size)
}
