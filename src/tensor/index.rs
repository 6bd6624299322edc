//! Reading and writing elements by index.
//!
//! Indices of the tensor's rank are merged into rows, whose elements `index_rows` reads and writes; whole slices go through
//! [`Tensor::gather_rows`] and its adjoint.
//!
//! Indices that were made on the host are checked against their range, through views and casts (see [`origin`]); those that a
//! device computes are clamped, and checked there (see [`range`]).
//!
//! [`origin`]: super::origin
//! [`range`]: super::range

use super::index_rows::{added, last_writers, picked};
use super::range::{Range, as_index, need_index};
use super::{At, Fault, Tensor, need_axis, need_float};
use crate::dtype::DType;
use crate::error::{Error, Result, counted};
use crate::shape::{MAX_RANK, Shape};
use std::panic::Location;

/// The help for an index out of range.
const FROM_ZERO: &str = "indices count positions along the axis from 0";

/// # Indexing by tensors and masks
impl Tensor {
    /// Elements by index along an axis: `out[.., i, ..] = self[.., index[.., i, ..], ..]`. The index is i32 or u32, has the
    /// tensor's rank, and is at most as long as the tensor along the other axes; the result has the index's shape. The gradient
    /// adds up elements that are taken several times.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [2, 2], &device)?;
    /// let index = Tensor::from_slice(&[0, 0, 1, 0], [2, 2], &device)?;
    /// assert_eq!(x.gather(1, &index).to_vec::<f32>()?, [1.0, 1.0, 4.0, 3.0]);
    /// assert_eq!(x.scatter_add(0, &index, &x).to_vec::<f32>()?, [2.0, 8.0, 6.0, 4.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn gather(&self, axis: isize, index: &Self) -> Self {
        self.gather_as(axis, index, true, Location::caller())
    }

    /// As [`Tensor::gather`], by an index that is within range.
    #[track_caller]
    pub(crate) fn gather_within(&self, axis: isize, index: &Self) -> Self {
        self.gather_as(axis, index, false, Location::caller())
    }

    fn gather_as(&self, axis: isize, index: &Self, check: bool, at: At) -> Self {
        let index = as_index(index);
        Self::guard("gather", &[self, &index], at, |n| {
            let (shape, to) = (n[0].shape, n[1].shape);
            let axis = need_axis(&shape, axis)?;
            need_index(n[1])?;
            covers("tensor", &shape, &to, Some(axis))?;
            if shape[axis] == 0 && to.numel() > 0 {
                return Err(Fault::shape(format!("axis {axis} has no elements"), "gather along an axis with elements"));
            }
            let index = if check { Range::new("gather", shape[axis], FROM_ZERO, at).checked(&index) } else { index.clone() };
            let picked = picked(&self.cut(&to, Some(axis)).lines(axis), &index.lines(axis));
            Ok(picked.map_or_else(Self::from_error, |p| p.lines_back(&to, axis)))
        })
    }

    /// A copy in which `out[.., index[.., i, ..], ..] = src[.., i, ..]` along an axis. The index is i32 or u32, has the
    /// tensor's rank, and is at most as long as `src`, and along the other axes at most as long as the tensor. Of several
    /// elements for one place the last one is taken, and it alone has a gradient (in PyTorch, any one is taken).
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::full([3], 9.0, &device)?;
    /// let index = Tensor::from_slice(&[0, 2, 0], [3], &device)?;
    /// let src = Tensor::from_slice(&[1.0f32, 2.0, 3.0], [3], &device)?;
    /// assert_eq!(x.scatter(0, &index, &src).to_vec::<f32>()?, [3.0, 9.0, 2.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn scatter(&self, axis: isize, index: &Self, src: &Self) -> Self {
        self.scattered("scatter", axis, index, src, |x, src, index, shape, axis| {
            // Counted from 1; 0 marks a place that stays as it is.
            let last = last_writers(index, shape[axis])?;
            let values = picked(src, &(&last - 1).maximum(&last.scalar_like(0.0)))?;
            let written = last.lines_back(shape, axis).grown(&x.shape()?);
            let values = values.lines_back(shape, axis).grown(&x.shape()?);
            Ok(written.gt(&written.scalar_like(0.0)).where_(&values, x))
        })
    }

    /// A copy with `src[.., i, ..]` added to `out[.., index[.., i, ..], ..]` along an axis; shapes as in [`Tensor::scatter`].
    /// Elements for one place add up in a fixed order.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::full([3], 10.0, &device)?;
    /// let index = Tensor::from_slice(&[0, 2, 0], [3], &device)?;
    /// let src = Tensor::from_slice(&[1.0f32, 2.0, 3.0], [3], &device)?;
    /// assert_eq!(x.scatter_add(0, &index, &src).to_vec::<f32>()?, [14.0, 10.0, 12.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn scatter_add(&self, axis: isize, index: &Self, src: &Self) -> Self {
        self.scattered("scatter_add", axis, index, src, |x, src, index, shape, axis| {
            let added = added(src, index, shape[axis])?;
            Ok(x + added.lines_back(shape, axis).grown(&x.shape()?))
        })
    }

    /// Checks a scatter and hands `write` the tensor, `src` and the index as `[rows, count]`, and the shape and axis of what
    /// it writes: the index's shape with the tensor's length along the axis.
    #[track_caller]
    fn scattered(
        &self,
        name: &'static str,
        axis: isize,
        index: &Self,
        src: &Self,
        write: impl FnOnce(&Self, &Self, &Self, &Shape, usize) -> Result<Self>,
    ) -> Self {
        let (index, at) = (as_index(index), Location::caller());
        Self::guard(name, &[self, &index, src], at, |n| {
            let (shape, from) = (n[0].shape, n[1].shape);
            let axis = need_axis(&shape, axis)?;
            need_index(n[1])?;
            if n[0].dtype != n[2].dtype {
                return Err(Fault::dtype(format!("dtypes {} and {} differ", n[0].dtype, n[2].dtype), "cast one"));
            }
            if n[0].dtype == DType::Bool {
                return Err(Fault::dtype("bool has no arithmetic", "cast it to i32 first"));
            }
            covers("source", &n[2].shape, &from, None)?;
            covers("tensor", &shape, &from, Some(axis))?;
            let index = Range::new(name, shape[axis], FROM_ZERO, at).checked(&index);
            if index.check().is_ok() && (from.numel() == 0 || shape[axis] == 0) {
                return Ok(self.clone());
            }
            let src = src.cut(&from, None).lines(axis);
            Ok(write(self, &src, &index.lines(axis), &from.with(axis, shape[axis]), axis).unwrap_or_else(Self::from_error))
        })
    }

    /// Slices by index along an axis: an i32 or u32 index `[n]` gives the tensor's shape with length n along the axis. The
    /// gradient adds up slices that are taken several times.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::arange(0.0, 6.0, 1.0, &device)?.reshape([2, 3]);
    /// let index = Tensor::from_slice(&[2, 0], [2], &device)?;
    /// assert_eq!(x.index_select(1, &index).to_vec::<f32>()?, [2.0, 0.0, 5.0, 3.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn index_select(&self, axis: isize, index: &Self) -> Self {
        let (index, at) = (as_index(index), Location::caller());
        Self::guard("index_select", &[self, &index], at, |n| {
            let shape = n[0].shape;
            let axis = need_axis(&shape, axis)?;
            need_index(n[1])?;
            let count = vector(&n[1].shape)?;
            if shape[axis] == 0 && count > 0 {
                return Err(Fault::shape(format!("axis {axis} has no elements"), "select from an axis with elements"));
            }
            let index = Range::new("index_select", shape[axis], FROM_ZERO, at).checked(&index);
            Ok(self.slices(axis).gather_rows_within(&index).slices_back(&shape.with(axis, count), axis))
        })
    }

    /// A copy with slice i of `src` added to slice `index[i]` along an axis: the index is `[n]`, i32 or u32, and `src` has
    /// the tensor's shape with length n along the axis. Slices for one place add up in order.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::zeros([3, 2], &device)?;
    /// let index = Tensor::from_slice(&[2, 2], [2], &device)?;
    /// let src = Tensor::from_slice(&[1.0f32, 2.0, 30.0, 40.0], [2, 2], &device)?;
    /// assert_eq!(x.index_add(0, &index, &src).to_vec::<f32>()?, [0.0, 0.0, 0.0, 0.0, 31.0, 42.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn index_add(&self, axis: isize, index: &Self, src: &Self) -> Self {
        let (index, at) = (as_index(index), Location::caller());
        Self::guard("index_add", &[self, &index, src], at, |n| {
            let shape = n[0].shape;
            let axis = need_axis(&shape, axis)?;
            need_index(n[1])?;
            let count = vector(&n[1].shape)?;
            if n[0].dtype != n[2].dtype {
                return Err(Fault::dtype(format!("dtypes {} and {} differ", n[0].dtype, n[2].dtype), "cast one"));
            }
            if n[2].shape != shape.with(axis, count) {
                let reason = format!("the source must have shape {}, not {}", shape.with(axis, count), n[2].shape);
                return Err(Fault::shape(reason, "give one slice per index"));
            }
            let index = Range::new("index_add", shape[axis], FROM_ZERO, at).checked(&index);
            if index.check().is_ok() && (shape[axis] == 0 || count == 0) {
                return Ok(self.clone());
            }
            if !n[0].dtype.is_float() {
                let mut dims = vec![1; shape.rank()];
                dims[axis] = count;
                return Ok(self.scatter_add(axis as isize, &index.reshape(dims).broadcast_to(n[2].shape), src));
            }
            Ok(self + src.slices(axis).scatter_add_rows_within(shape[axis], &index).slices_back(&shape, axis))
        })
    }

    /// I32 of this shape and one more axis: 1 at each index's position among `classes`, 0 elsewhere. The tensor is i32 or u32.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let labels = Tensor::from_slice(&[2, 0], [2], &device)?;
    /// assert_eq!(labels.one_hot(3).to_vec::<i32>()?, [0, 0, 1, 1, 0, 0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn one_hot(&self, classes: usize) -> Self {
        let (index, at) = (as_index(self), Location::caller());
        Self::guard("one_hot", &[&index], at, |n| {
            need_index(n[0])?;
            if classes == 0 {
                return Err(Fault::attribute("there are no classes", "use at least 1"));
            }
            let shape = n[0].shape;
            if shape.rank() == MAX_RANK {
                return Err(Fault::shape("there is no room for one more axis", "flatten the index first"));
            }
            let mut dims = shape.to_vec();
            dims.push(classes);
            let to = Shape::new(&dims).map_err(|e| Fault::shape(e.to_string(), "use fewer classes"))?;
            let index = Range::new("one_hot", classes, "indices count classes from 0", at).checked(&index);
            let class = match Self::iota(classes, DType::I32, &n[0].device) {
                Ok(class) => class,
                Err(error) => return Ok(Self::from_error(error)),
            };
            *dims.last_mut().unwrap_or(&mut 1) = 1;
            let place = index.clamp(0.0, classes as f64 - 1.0).reshape(dims);
            Ok(place.eq(&class).cast(DType::I32).broadcast_to(to))
        })
    }

    /// Rows of a table `[rows, d]` by an i32 or u32 index of any shape, which gets one more axis of length d. Gradients are
    /// dense, and add up rows that are taken several times; the row `padding` gets none.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let device = Device::cpu()?;
    /// let table = Tensor::arange(0.0, 6.0, 1.0, &device)?.reshape([3, 2]);
    /// let words = Tensor::from_slice(&[2, 0], [1, 2], &device)?;
    /// assert_eq!(table.embedding(&words, Some(0)).to_vec::<f32>()?, [4.0, 5.0, 0.0, 1.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn embedding(&self, index: &Self, padding: Option<usize>) -> Self {
        self.embedding_as("embedding", "indices count rows from 0", index, padding, Location::caller())
    }

    /// As [`Tensor::embedding`]; errors in the index give this name and help.
    pub(crate) fn embedding_as(
        &self,
        name: &'static str,
        help: &'static str,
        index: &Self,
        padding: Option<usize>,
        at: At,
    ) -> Self {
        let index = as_index(index);
        Self::guard("embedding", &[self, &index], at, |n| {
            let (table, shape) = (n[0].shape, n[1].shape);
            need_float(n[0])?;
            need_index(n[1])?;
            if table.rank() != 2 {
                return Err(Fault::shape("the table must be [rows, d]", "reshape it first"));
            }
            if shape.rank() == MAX_RANK {
                return Err(Fault::shape("there is no room for one more axis", "flatten the index first"));
            }
            if let Some(row) = padding.filter(|&row| row >= table[0]) {
                let reason = format!("padding row {row} is outside 0..{}", table[0]);
                return Err(Fault::attribute(reason, "use a row of the table"));
            }
            if table[0] == 0 && shape.numel() > 0 {
                return Err(Fault::shape("the table has no rows", "use a table with rows"));
            }
            let index = Range::new(name, table[0], help, at).checked(&index);
            let flat = index.reshape([shape.numel()]);
            let mut rows = self.gather_rows_within(&flat);
            if let Some(row) = padding {
                let padded = flat.eq(&flat.scalar_like(row as f64)).unsqueeze(1);
                rows = padded.where_(&rows.detach(), &rows);
            }
            let mut dims = shape.to_vec();
            dims.push(table[1]);
            Ok(rows.reshape(dims))
        })
    }

    /// The coordinates of every element other than 0 (NaN is), in row-major order. Computes the value and waits for it: a
    /// shape that depends on values cannot be lazy.
    ///
    /// # Errors
    /// The error that the tensor carries; whatever the device reports.
    #[track_caller]
    pub fn nonzero(&self) -> Result<Vec<Vec<usize>>> {
        let strides = self.shape()?.strides();
        let shape = self.shape()?;
        let coordinates = |i: usize| strides.iter().zip(shape.iter()).map(|(&s, &d)| i / s % d).collect();
        Ok(self.occupied_positions()?.into_iter().map(coordinates).collect())
    }

    /// The elements where a bool mask of the same shape is true, in row-major order: `[n]`. Reads the mask, and waits for it.
    /// Gradients flow to the elements taken.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, -2.0, 3.0], [3], &device)?;
    /// assert_eq!(x.masked_select(&x.gt(&x.zeros_like()))?.to_vec::<f32>()?, [1.0, 3.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The error that a tensor carries; a mask of another dtype, shape or device; more than 2³¹ elements; whatever the device
    /// reports.
    #[track_caller]
    pub fn masked_select(&self, mask: &Self) -> Result<Self> {
        let checked = Self::guard("masked_select", &[self, mask], Location::caller(), |n| {
            if n[1].dtype != DType::Bool {
                return Err(Fault::dtype(format!("the mask is {}, not bool", n[1].dtype), "compare it first, say with .ne(0)"));
            }
            if n[0].shape != n[1].shape {
                let reason = format!("the tensor has shape {} and the mask {}", n[0].shape, n[1].shape);
                return Err(Fault::shape(reason, "expand the mask"));
            }
            Ok(self.reshape([n[0].shape.numel()]))
        });
        checked.check()?;
        let positions: std::result::Result<Vec<i32>, _> = mask.occupied_positions()?.into_iter().map(i32::try_from).collect();
        let Ok(positions) = positions else {
            return Err(Error::argument("masked_select", "the mask is too long", "select from slices"));
        };
        let index = Self::from_slice(&positions, [positions.len()], &self.device()?)?;
        let taken = checked.index_select(0, &index);
        taken.check()?;
        Ok(taken)
    }

    /// Row-major positions of the elements other than 0.
    fn occupied_positions(&self) -> Result<Vec<usize>> {
        let values = self.to_host()?.to_f64();
        Ok(values.iter().enumerate().filter(|&(_, &v)| v != 0.0).map(|(i, _)| i).collect())
    }

    /// The first `to[d]` elements along every axis d but one.
    fn cut(&self, to: &Shape, except: Option<usize>) -> Self {
        (0..to.rank()).filter(|&d| Some(d) != except).fold(self.clone(), |t, d| t.slice(d as isize, 0, to[d] as isize))
    }

    /// Zeros after the last element of each axis, up to a shape.
    fn grown(&self, to: &Shape) -> Self {
        let Ok(shape) = self.shape() else { return self.clone() };
        self.pad(&shape.iter().zip(to.iter()).map(|(&from, &to)| (0, to - from)).collect::<Vec<_>>())
    }

    /// As `[rows, len]`, with one axis last and all others merged.
    fn lines(&self, axis: usize) -> Self {
        let Ok(shape) = self.shape() else { return self.clone() };
        let rows: usize = (0..shape.rank()).filter(|&d| d != axis).map(|d| shape[d]).product();
        self.permute(&swapped(shape.rank(), axis)).reshape([rows, shape[axis]])
    }

    /// The inverse of [`Tensor::lines`], to a shape.
    fn lines_back(&self, shape: &Shape, axis: usize) -> Self {
        let order = swapped(shape.rank(), axis);
        self.reshape(order.iter().map(|&d| shape[d]).collect::<Vec<_>>()).permute(&order)
    }

    /// As `[len, rest]`, with one axis first and all others merged.
    fn slices(&self, axis: usize) -> Self {
        let Ok(shape) = self.shape() else { return self.clone() };
        let rest: usize = (0..shape.rank()).filter(|&d| d != axis).map(|d| shape[d]).product();
        let order: Vec<usize> = std::iter::once(axis).chain((0..shape.rank()).filter(|&d| d != axis)).collect();
        self.permute(&order).reshape([shape[axis], rest])
    }

    /// The inverse of [`Tensor::slices`], to a shape.
    fn slices_back(&self, shape: &Shape, axis: usize) -> Self {
        let mut dims = shape.to_vec();
        let len = dims.remove(axis);
        dims.insert(0, len);
        // Axis 0 goes to `axis`; those before it move up.
        let back: Vec<usize> = (1..=axis).chain([0]).chain(axis + 1..shape.rank()).collect();
        self.reshape(dims).permute(&back)
    }
}

/// The order that swaps an axis with the last; its own inverse.
fn swapped(rank: usize, axis: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rank).collect();
    order.swap(axis, rank - 1);
    order
}

/// Faults unless an index has the rank of a shape and is no longer than it along any axis but one.
fn covers(what: &str, shape: &Shape, index: &Shape, except: Option<usize>) -> Result<(), Fault> {
    if shape.rank() != index.rank() {
        let reason = format!("the index has {}, and the {what} has {}", counted(index.rank(), "axis"), shape.rank());
        return Err(Fault::shape(reason, "reshape or expand the index; index_select takes whole slices"));
    }
    match (0..shape.rank()).find(|&d| Some(d) != except && index[d] > shape[d]) {
        Some(d) => {
            let reason = format!("the index is longer along axis {d}, {}, than the {what}, {}", index[d], shape[d]);
            Err(Fault::shape(reason, "slice the index"))
        }
        None => Ok(()),
    }
}

/// The length of a vector of indices.
fn vector(index: &Shape) -> Result<usize, Fault> {
    match index.dims() {
        &[n] => Ok(n),
        _ => Err(Fault::shape(format!("the index has shape {index}, not [n]"), "flatten it, or use gather")),
    }
}
