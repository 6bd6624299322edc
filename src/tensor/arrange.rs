//! Methods that take tensors apart, repeat, shift and pad them: compositions of views.

use super::movement::padded;
use super::{Fault, Tensor, need_axis, need_few, need_possible};
use crate::dtype::DType;
use crate::error::Result;
use crate::shape::product;
use std::panic::Location;

/// What [`Tensor::pad_with`] puts around a tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PadMode {
    /// One value everywhere.
    Constant(f64),
    /// The tensor mirrored at its first and last element, which are not repeated: `c b | a b c | b a`. At most one element fewer
    /// than the axis has.
    Reflect,
    /// The first and the last element, repeated: `a a | a b c | c c`.
    Replicate,
}

impl Default for PadMode {
    /// Zeros, as in PyTorch.
    fn default() -> Self {
        Self::Constant(0.0)
    }
}

/// # Splitting, repeating, triangles, padding modes
impl Tensor {
    /// Neighbouring pieces of these sizes along an axis; the sizes add up to its length.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let x = Tensor::arange(0.0, 5.0, 1.0, &Device::cpu()?)?;
    /// let parts = x.split(0, &[1, 4])?;
    /// assert_eq!(parts[1].to_vec::<f32>()?, [1.0, 2.0, 3.0, 4.0]);
    /// assert_eq!(x.chunk(2, 0)?[0].to_vec::<f32>()?, [0.0, 1.0, 2.0]);
    /// assert_eq!(x.roll(2, 0).to_vec::<f32>()?, [3.0, 4.0, 0.0, 1.0, 2.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The error that the tensor carries; an axis out of range; sizes that do not add up to its length.
    #[track_caller]
    pub fn split(&self, axis: isize, sizes: &[usize]) -> Result<Vec<Self>> {
        let at = Location::caller();
        let shape = self.shape()?;
        let refuse = |fault| Self::refuse("split", &[self], at, fault).check().map(|()| Vec::new());
        let axis = match need_axis(&shape, axis) {
            Ok(axis) => axis,
            Err(fault) => return refuse(fault),
        };
        if sizes.iter().try_fold(0usize, |sum, &s| sum.checked_add(s)) != Some(shape[axis]) {
            let reason = format!("sizes {sizes:?} do not add up to axis {axis}'s length {}", shape[axis]);
            return refuse(Fault::attribute(reason, "give sizes that cover the axis"));
        }
        Ok(self.pieces(axis, sizes))
    }

    /// Up to `n` neighbouring pieces along an axis, each `⌈length / n⌉` long except for the last, which may be shorter.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::arange(0.0, 7.0, 1.0, &device)?;
    /// let lengths: Vec<usize> = x.chunk(3, 0)?.iter().map(|part| part.dim(0)).collect::<Result<_, _>>()?;
    /// assert_eq!(lengths, [3, 3, 1]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The error that the tensor carries; an axis out of range; `n` of 0.
    #[track_caller]
    pub fn chunk(&self, n: usize, axis: isize) -> Result<Vec<Self>> {
        let at = Location::caller();
        let shape = self.shape()?;
        let refuse = |fault| Self::refuse("chunk", &[self], at, fault).check().map(|()| Vec::new());
        let axis = match need_axis(&shape, axis) {
            Ok(axis) => axis,
            Err(fault) => return refuse(fault),
        };
        if n == 0 {
            return refuse(Fault::attribute("there are no chunks", "use at least 1"));
        }
        let len = shape[axis];
        let size = len.div_ceil(n);
        let count = if len == 0 { n } else { len.div_ceil(size) };
        if let Err(fault) = need_few("chunks", count) {
            return refuse(fault);
        }
        if len == 0 {
            return Ok(vec![self.slice(axis as isize, 0, 0); n]);
        }
        let sizes: Vec<usize> = (0..count).map(|i| size.min(len - i * size)).collect();
        Ok(self.pieces(axis, &sizes))
    }

    fn pieces(&self, axis: usize, sizes: &[usize]) -> Vec<Self> {
        let mut from = 0;
        let piece = |&size: &usize| {
            from += size;
            self.slice(axis as isize, (from - size) as isize, from as isize)
        };
        sizes.iter().map(piece).collect()
    }

    /// The tensor, repeated `counts[d]` times along each axis d; counts beyond the number of axes add axes in front.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 2.0], [2], &device)?;
    /// let y = x.repeat(&[3, 2]);
    /// assert_eq!(y.shape()?, [3, 4]);
    /// assert_eq!(y.slice(0, 0, 1).to_vec::<f32>()?, [1.0, 2.0, 1.0, 2.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn repeat(&self, counts: &[usize]) -> Self {
        Self::guard("repeat", &[self], Location::caller(), |n| {
            let rank = n[0].shape.rank();
            if counts.len() < rank {
                let reason = format!("{} counts were given for {rank} axes", counts.len());
                return Err(Fault::shape(reason, "give one count per axis"));
            }
            let mut dims = vec![1; counts.len() - rank];
            dims.extend(n[0].shape.iter());
            let tiled: Vec<usize> = dims.iter().zip(counts).map(|(&d, &c)| product(&[d, c])).collect();
            need_possible(&tiled)?;
            let mut out = self.reshape(&dims[..]);
            // Axis by axis: as [outer, 1, axis and inner], stretched and merged.
            for d in (0..dims.len()).rev().filter(|&d| counts[d] != 1) {
                let (outer, inner) = (dims[..d].iter().product::<usize>(), dims[d..].iter().product::<usize>());
                dims[d] *= counts[d];
                out = out.reshape([outer, 1, inner]).expand([outer, counts[d], inner]).reshape(&dims[..]);
            }
            Ok(out)
        })
    }

    /// Shifts the elements along an axis by `shift`, `out[(i + shift) mod n] = x[i]`; those that leave at one end come back at
    /// the other.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::arange(0.0, 5.0, 1.0, &device)?;
    /// assert_eq!(x.roll(1, 0).to_vec::<f32>()?, [4.0, 0.0, 1.0, 2.0, 3.0]);
    /// assert_eq!(x.roll(-2, 0).to_vec::<f32>()?, [2.0, 3.0, 4.0, 0.0, 1.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn roll(&self, shift: isize, axis: isize) -> Self {
        Self::guard("roll", &[self], Location::caller(), |n| {
            let d = need_axis(&n[0].shape, axis)?;
            let len = n[0].shape[d] as isize;
            let cut = if len == 0 { 0 } else { (-shift.rem_euclid(len)).rem_euclid(len) };
            if cut == 0 {
                return Ok(self.clone());
            }
            Ok(Self::cat(&[&self.slice(axis, cut, len), &self.slice(axis, 0, cut)], axis))
        })
    }

    /// The lower triangles of the matrices in the last two axes: elements with `column - row <= k`, zeros elsewhere.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::arange(1.0, 5.0, 1.0, &device)?.reshape([2, 2]);
    /// assert_eq!(x.tril(0).to_vec::<f32>()?, [1.0, 0.0, 3.0, 4.0]);
    /// assert_eq!(x.tril(-1).to_vec::<f32>()?, [0.0, 0.0, 3.0, 0.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn tril(&self, k: isize) -> Self {
        self.triangle("tril", Location::caller(), |distance| distance.le(&distance.scalar_like(bounded(k))))
    }

    /// The upper triangles of the matrices in the last two axes: elements with `column - row >= k`, zeros elsewhere.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::arange(1.0, 5.0, 1.0, &device)?.reshape([2, 2]);
    /// assert_eq!(x.triu(0).to_vec::<f32>()?, [1.0, 2.0, 0.0, 4.0]);
    /// assert_eq!(x.triu(1).to_vec::<f32>()?, [0.0, 2.0, 0.0, 0.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn triu(&self, k: isize) -> Self {
        self.triangle("triu", Location::caller(), |distance| distance.ge(&distance.scalar_like(bounded(k))))
    }

    fn triangle(&self, name: &'static str, at: super::At, keep: impl FnOnce(&Self) -> Self) -> Self {
        Self::guard(name, &[self], at, |n| {
            let rank = n[0].shape.rank();
            if rank < 2 {
                return Err(Fault::shape("a matrix has two axes", "reshape it to [rows, columns]"));
            }
            let [rows, cols] = [n[0].shape[rank - 2], n[0].shape[rank - 1]];
            let (row, col) = match (Self::iota(rows, DType::I32, &n[0].device), Self::iota(cols, DType::I32, &n[0].device)) {
                (Ok(row), Ok(col)) => (row.reshape([rows, 1]), col.reshape([1, cols])),
                (Err(error), _) | (_, Err(error)) => return Ok(Self::from_error(error)),
            };
            Ok(keep(&(col - row)).where_(self, &self.scalar_like(0.0)))
        })
    }

    /// Between a vector and its diagonal: `[n]` gives the matrix with the vector on the `k`-th diagonal (above the main one
    /// for k above 0) and zeros elsewhere; a matrix gives its `k`-th diagonal.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 2.0], [2], &device)?;
    /// assert_eq!(x.diag(0).to_vec::<f32>()?, [1.0, 0.0, 0.0, 2.0]);
    /// assert_eq!(x.diag(1).shape()?, [3, 3]);
    /// assert_eq!(x.diag(1).diag(1).to_vec::<f32>()?, [1.0, 2.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn diag(&self, k: isize) -> Self {
        Self::guard("diag", &[self], Location::caller(), |n| {
            let (above, below) = (k.max(0).unsigned_abs(), k.min(0).unsigned_abs());
            match *n[0].shape.dims() {
                [len] => {
                    need_possible(&[len.saturating_add(above + below); 2])?;
                    let index = match Self::iota(len, DType::I32, &n[0].device) {
                        Ok(index) => index,
                        Err(error) => return Ok(Self::from_error(error)),
                    };
                    let main = index.unsqueeze(1).eq(&index.unsqueeze(0));
                    Ok(main.where_(&self.unsqueeze(1), &self.scalar_like(0.0)).pad(&[(below, above), (above, below)]))
                }
                [rows, cols] => {
                    if above > cols || below > rows {
                        let reason = format!("diagonal {k} lies outside a matrix of shape {}", n[0].shape);
                        return Err(Fault::attribute(reason, "use a diagonal within the matrix"));
                    }
                    let len = (rows - below).min(cols - above);
                    if len == 0 {
                        return Ok(self.reshape([rows * cols]).slice(0, 0, 0));
                    }
                    let first = below * cols + above;
                    let past = first + (len - 1) * (cols + 1) + 1;
                    Ok(self.reshape([rows * cols]).slice_step(0, first as isize, past as isize, cols as isize + 1))
                }
                _ => Err(Fault::shape("diag takes a vector or a matrix", "reshape it, or take one matrix of a batch")),
            }
        })
    }

    /// Values around the tensor: `(before, after)` for each axis.
    ///
    /// ```
    /// # use wgrad::{Device, PadMode, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let x = Tensor::arange(0.0, 3.0, 1.0, &Device::cpu()?)?;
    /// assert_eq!(x.pad_with(&[(2, 1)], PadMode::Reflect).to_vec::<f32>()?, [2.0, 1.0, 0.0, 1.0, 2.0, 1.0]);
    /// assert_eq!(x.pad_with(&[(0, 1)], PadMode::Constant(7.0)).to_vec::<f32>()?, [0.0, 1.0, 2.0, 7.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn pad_with(&self, amounts: &[(usize, usize)], mode: PadMode) -> Self {
        Self::guard("pad_with", &[self], Location::caller(), |n| {
            let (shape, rank) = (n[0].shape, n[0].shape.rank());
            if amounts.len() != rank {
                return Err(Fault::shape(
                    format!("{} pairs were given for {rank} axes", amounts.len()),
                    "give one pair per axis",
                ));
            }
            need_possible(&padded(&shape, amounts))?;
            if let PadMode::Constant(value) = mode {
                let inside = self.scalar_like(1.0).broadcast_to(shape).cast(DType::Bool).pad(amounts);
                return Ok(inside.where_(&self.pad(amounts), &self.scalar_like(value)));
            }
            let mut out = self.clone();
            for (d, &(before, after)) in amounts.iter().enumerate().filter(|(_, p)| **p != (0, 0)) {
                let (axis, len) = (d as isize, shape[d]);
                let most = if mode == PadMode::Reflect { len.saturating_sub(1) } else { usize::MAX };
                if before.max(after) > most || len == 0 {
                    let reason = format!("axis {d} of length {len} cannot be padded by {before} and {after} in this mode");
                    return Err(Fault::attribute(
                        reason,
                        "reflect less than the axis' length; only a constant pads an empty axis",
                    ));
                }
                let part = |from: usize, to: usize| out.slice(axis, from as isize, to as isize);
                let copies = |part: Self, count: usize| match part.shape() {
                    Ok(one) => part.broadcast_to(one.with(d, count)),
                    Err(_) => part,
                };
                let (left, right) = match mode {
                    PadMode::Reflect => (part(1, 1 + before).flip(axis), part(len - 1 - after, len - 1).flip(axis)),
                    _ => (copies(part(0, 1), before), copies(part(len - 1, len), after)),
                };
                out = Self::cat(&[&left, &out, &right], axis);
            }
            Ok(out)
        })
    }
}

/// A diagonal's number, within i32 as positions are; beyond that, all elements are on one side.
fn bounded(k: isize) -> f64 {
    k.clamp(-(1 << 30), 1 << 30) as f64
}
