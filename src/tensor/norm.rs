//! Normalisation: each function is `(x - mean) / √(variance + eps)` over its own axes, then a scale and a shift.

use super::{Fault, Tensor, need_float};
use crate::dtype::DType;
use crate::graph::Op;
use crate::graph::row::{RowNorm, RowOp};
use crate::lazy::Node;
use crate::shape::{IntoShape, Shape};
use std::panic::Location;
use std::sync::Arc;

/// The longest row that a workgroup normalises by itself; the longest of channels.
const LONGEST_ROW: usize = 1 << 15;
const LONGEST_OF_CHANNELS: usize = 1 << 13;

/// The fewest neighbours that share a parameter, below which the sums for its gradient would weigh as much as what they are made of.
const FEWEST_POSITIONS: usize = 4;

/// # Normalisation
impl Tensor {
    /// Normalises over the last axes, whose shape is `normalized`: `(x - mean) / √(variance + eps) · weight + bias` with the
    /// population variance. `weight` and `bias` have the shape `normalized`. PyTorch's default eps is 1e-5.
    ///
    /// Source: J. Ba et al., "Layer normalization", 2016.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let x = Tensor::from_slice(&[1.0f32, 3.0, -2.0, 2.0], [2, 2], &Device::cpu()?)?;
    /// let y = x.layer_norm([2], None, None, 0.0);
    /// assert_eq!(y.to_vec::<f32>()?, [-1.0, 1.0, -1.0, 1.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn layer_norm(&self, normalized: impl IntoShape, weight: Option<&Self>, bias: Option<&Self>, eps: f64) -> Self {
        let wanted = normalized.into_shape();
        Self::guard("layer_norm", &listed(self, weight, bias), Location::caller(), |n| {
            let wanted = wanted.map_err(|e| Fault::shape(e.to_string(), "use a possible shape"))?;
            need_eps(eps)?;
            let axes = need_trailing(n[0], &wanted)?;
            need_affine(n, &wanted)?;
            let norm = RowNorm { centre: true, eps: eps.to_bits(), groups: 1, positions: 1, scale: false, shift: false };
            if let Some(y) = self.row_norm(wanted.numel(), norm, weight, bias) {
                return Ok(y);
            }
            let (normal, _, _) = self.standardize(&axes, eps);
            Ok(normal.scale_and_shift(weight, bias, wanted))
        })
    }

    /// Divides by the root of the mean square over the last axes, whose shape is `normalized`:
    /// `x / √(mean(x²) + eps) · weight`. Without `eps` it is the dtype's machine epsilon, as in PyTorch.
    ///
    /// Source: B. Zhang, R. Sennrich, "Root mean square layer normalization", 2019.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, -7.0], [1, 2], &device)?; // √((1 + 49) / 2) = 5
    /// assert_eq!(format!("{:.4?}", x.rms_norm([2], None, Some(0.0)).to_vec::<f32>()?), "[0.2000, -1.4000]");
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn rms_norm(&self, normalized: impl IntoShape, weight: Option<&Self>, eps: Option<f64>) -> Self {
        let wanted = normalized.into_shape();
        Self::guard("rms_norm", &listed(self, weight, None), Location::caller(), |n| {
            let wanted = wanted.map_err(|e| Fault::shape(e.to_string(), "use a possible shape"))?;
            let machine = if n[0].dtype == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
            let eps = eps.unwrap_or(machine);
            need_eps(eps)?;
            let axes: Vec<isize> = need_trailing(n[0], &wanted)?.iter().map(|&a| a as isize).collect();
            need_affine(n, &wanted)?;
            let norm = RowNorm { centre: false, eps: eps.to_bits(), groups: 1, positions: 1, scale: false, shift: false };
            if let Some(y) = self.row_norm(wanted.numel(), norm, weight, None) {
                return Ok(y);
            }
            let scale = (self.square().mean_keepdim(&axes) + eps).rsqrt();
            Ok((self * scale).scale_and_shift(weight, None, wanted))
        })
    }

    /// Normalises `[n, c, ..]` over each of `groups` groups of neighbouring channels and all positions:
    /// `(x - mean) / √(variance + eps) · weight + bias` with the group's mean and population variance. `weight` and `bias` are
    /// `[c]`. PyTorch's default eps is 1e-5.
    ///
    /// Source: Y. Wu, K. He, "Group normalization", 2018.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 3.0, 10.0, 30.0], [1, 4], &device)?;
    /// let y = x.group_norm(2, None, None, 0.0);
    /// assert_eq!(y.shape()?, [1, 4]);
    /// assert_eq!(format!("{:.4?}", y.to_vec::<f32>()?), "[-1.0000, 1.0000, -1.0000, 1.0000]");
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn group_norm(&self, groups: usize, weight: Option<&Self>, bias: Option<&Self>, eps: f64) -> Self {
        Self::guard("group_norm", &listed(self, weight, bias), Location::caller(), |n| {
            let shape = n[0].shape;
            let channels = need_channels(n, 2)?;
            need_eps(eps)?;
            if groups == 0 || !channels.is_multiple_of(groups) {
                let reason = format!("{groups} groups do not divide {channels} channels");
                return Err(Fault::attribute(reason, "use a number of groups that divides the channels"));
            }
            let positions: usize = shape[2..].iter().product();
            let norm = RowNorm { centre: true, eps: eps.to_bits(), groups, positions, scale: false, shift: false };
            if let Some(y) = self.row_norm(channels / groups * positions, norm, weight, bias) {
                return Ok(y);
            }
            let grouped = self.reshape([shape[0], groups, channels / groups * positions]);
            let (normal, _, _) = grouped.standardize(&[2], eps);
            Ok(normal.reshape(shape).scale_and_shift(weight, bias, channelwise(channels, shape.rank())))
        })
    }

    /// Normalises each channel of each example of `[n, c, ..]` over its positions:
    /// `(x - mean) / √(variance + eps) · weight + bias` with their mean and population variance. `weight` and `bias` are `[c]`.
    /// PyTorch's default eps is 1e-5; running statistics are not kept. Refuses channels of one position.
    ///
    /// Source: D. Ulyanov et al., "Instance normalization", 2016.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 3.0, 10.0, 30.0], [1, 2, 2], &device)?;
    /// let weight = Tensor::from_slice(&[1.0f32, 5.0], [2], &device)?;
    /// let y = x.instance_norm(Some(&weight), None, 0.0);
    /// assert_eq!(format!("{:.4?}", y.to_vec::<f32>()?), "[-1.0000, 1.0000, -5.0000, 5.0000]");
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn instance_norm(&self, weight: Option<&Self>, bias: Option<&Self>, eps: f64) -> Self {
        Self::guard("instance_norm", &listed(self, weight, bias), Location::caller(), |n| {
            let shape = n[0].shape;
            let channels = need_channels(n, 3)?;
            need_eps(eps)?;
            let positions = shape[2..].iter().product::<usize>();
            if positions == 1 {
                return Err(Fault::shape("there is one value per channel", "give more than one position"));
            }
            let norm = RowNorm { centre: true, eps: eps.to_bits(), groups: channels, positions, scale: false, shift: false };
            if let Some(y) = self.row_norm(positions, norm, weight, bias) {
                return Ok(y);
            }
            let axes: Vec<usize> = (2..shape.rank()).collect();
            let (normal, _, _) = self.standardize(&axes, eps);
            Ok(normal.scale_and_shift(weight, bias, channelwise(channels, shape.rank())))
        })
    }

    /// Normalises each channel of `[n, c, ..]` over the batch and all positions, as in training:
    /// `(x - mean) / √(variance + eps) · weight + bias`. Returns the result, the mean and the population variance, both `[c]`;
    /// for running statistics multiply the variance by `m / (m - 1)`, where m is the number of values per channel. `weight` and
    /// `bias` are `[c]`. PyTorch's default eps is 1e-5. Refuses channels of one value.
    ///
    /// Source: S. Ioffe, C. Szegedy, "Batch normalization", 2015.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 10.0, 3.0, 30.0], [2, 2], &device)?;
    /// let (y, mean, variance) = x.batch_norm(None, None, 0.0);
    /// assert_eq!((mean.to_vec::<f32>()?, variance.to_vec::<f32>()?), (vec![2.0, 20.0], vec![1.0, 100.0]));
    /// assert_eq!(format!("{:.4?}", y.to_vec::<f32>()?), "[-1.0000, -1.0000, 1.0000, 1.0000]");
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn batch_norm(&self, weight: Option<&Self>, bias: Option<&Self>, eps: f64) -> (Self, Self, Self) {
        let (operands, at) = (listed(self, weight, bias), Location::caller());
        let _call = Self::called("batch_norm", &operands, at);
        let checked = Self::guard("batch_norm", &operands, at, |n| {
            let channels = need_channels(n, 2)?;
            need_eps(eps)?;
            if n[0].shape.numel() == channels {
                return Err(Fault::shape("there is one value per channel", "train on at least 2 values per channel"));
            }
            Ok(self.clone())
        });
        let Ok(shape) = checked.shape() else { return (checked.clone(), checked.clone(), checked) };
        let axes: Vec<usize> = (0..shape.rank()).filter(|&a| a != 1).collect();
        let wide = |t: &Self| t.reshape(channelwise(shape[1], shape.rank()));
        let (y, moments) = checked.standardized(axes, eps, weight.map(wide).as_ref(), bias.map(wide).as_ref());
        (y, moments.select(0, 0), moments.select(0, 1))
    }

    /// Normalises each channel of `[n, c, ..]` with a given mean and variance, both `[c]`, as in evaluation:
    /// `(x - mean) / √(variance + eps) · weight + bias`.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::full([1, 2], 5.0, &device)?;
    /// let mean = Tensor::from_slice(&[1.0f32, 5.0], [2], &device)?;
    /// let variance = Tensor::from_slice(&[4.0f32, 1.0], [2], &device)?;
    /// assert_eq!(x.batch_norm_with(&mean, &variance, None, None, 0.0).to_vec::<f32>()?, [2.0, 0.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn batch_norm_with(&self, mean: &Self, variance: &Self, weight: Option<&Self>, bias: Option<&Self>, eps: f64) -> Self {
        let mut operands = vec![self, mean, variance];
        operands.extend(weight.iter().chain(&bias));
        Self::guard("batch_norm", &operands, Location::caller(), |n| {
            let channels = need_channels(n, 2)?;
            need_eps(eps)?;
            let shape = channelwise(channels, n[0].shape.rank());
            let scale = (variance.reshape(shape) + eps).rsqrt();
            Ok(((self - mean.reshape(shape)) * scale).scale_and_shift(weight, bias, shape))
        })
    }

    /// Normalises rows of `cols` elements and applies the parameters by a kernel of its own; `None` where that has no advantage.
    fn row_norm(&self, cols: usize, norm: RowNorm, weight: Option<&Self>, bias: Option<&Self>) -> Option<Self> {
        let shape = self.shape().ok()?;
        let suits = if norm.by_column() {
            cols <= LONGEST_ROW
        } else {
            cols <= LONGEST_OF_CHANNELS && norm.positions >= FEWEST_POSITIONS
        };
        if shape.numel() == 0 || !suits {
            return None;
        }
        let norm = RowNorm { scale: weight.is_some(), shift: bias.is_some(), ..norm };
        let rows = Shape::of(&[shape.numel() / cols, cols]);
        let parameters = [norm.groups * norm.channels(cols)];
        let operands: Vec<Self> = std::iter::once(self.reshape(rows))
            .chain([weight, bias].into_iter().flatten().map(|p| p.reshape(parameters)))
            .collect();
        let operands: Vec<&Self> = operands.iter().collect();
        Some(Self::build(Op::Row(RowOp::RowNorm(norm)), &operands, rows, self.dtype().ok()?).reshape(shape))
    }

    /// `self · weight + bias`, each seen in `shape`.
    fn scale_and_shift(&self, weight: Option<&Self>, bias: Option<&Self>, shape: Shape) -> Self {
        let scaled = weight.map_or_else(|| self.clone(), |w| self * w.reshape(shape));
        bias.map_or(scaled.clone(), |b| scaled + b.reshape(shape))
    }
}

/// The operands that are present.
fn listed<'t>(x: &'t Tensor, weight: Option<&'t Tensor>, bias: Option<&'t Tensor>) -> Vec<&'t Tensor> {
    [Some(x), weight, bias].into_iter().flatten().collect()
}

/// `[1, c, 1, ..]`.
fn channelwise(channels: usize, rank: usize) -> Shape {
    let mut dims = vec![1; rank];
    dims[1] = channels;
    Shape::of(&dims)
}

fn need_eps(eps: f64) -> Result<(), Fault> {
    if eps >= 0.0 {
        return Ok(());
    }
    Err(Fault::attribute(format!("eps = {eps} is negative or NaN"), "use a small positive value, such as 1e-5"))
}

/// The axes at the end of x that have the shape `wanted`.
fn need_trailing(x: &Node, wanted: &Shape) -> Result<Vec<usize>, Fault> {
    need_float(x)?;
    let (rank, count) = (x.shape.rank(), wanted.rank());
    if count == 0 || count > rank || x.shape[rank - count..] != wanted[..] {
        let reason = format!("the last axes of {} are not {wanted}", x.shape);
        return Err(Fault::shape(reason, "give the shape of one or more of the last axes"));
    }
    Ok((rank - count..rank).collect())
}

/// The number of channels, which the shape of every operand but the first must match.
fn need_channels(n: &[&Arc<Node>], min_rank: usize) -> Result<usize, Fault> {
    need_float(n[0])?;
    if n[0].shape.rank() < min_rank {
        let help = if min_rank == 2 { "use [n, c] or [n, c, ..]" } else { "use [n, c, ..] with at least one more axis" };
        return Err(Fault::shape(format!("the input has fewer than {min_rank} axes"), help));
    }
    let channels = n[0].shape[1];
    need_affine(n, &Shape::of(&[channels]))?;
    Ok(channels)
}

fn need_affine(n: &[&Arc<Node>], wanted: &Shape) -> Result<(), Fault> {
    for parameter in &n[1..] {
        if parameter.shape != *wanted {
            let reason = format!("{} is not {wanted}, the shape of weights, biases and statistics here", parameter.shape);
            return Err(Fault::shape(reason, "reshape it, or make it anew"));
        }
        if parameter.dtype != n[0].dtype {
            return Err(Fault::dtype(format!("dtypes {} and {} differ", n[0].dtype, parameter.dtype), "cast one"));
        }
    }
    Ok(())
}
