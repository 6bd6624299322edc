//! Row-wise functions: softmax, cross-entropy, gathering and scattering rows.

use super::range::{Range, as_index, need_index};
use super::{Fault, Tensor, need_axis, need_float};
use crate::dtype::DType;
use crate::error::counted;
use crate::graph::Op;
use crate::graph::row::RowOp;
use crate::shape::Shape;
use std::panic::Location;

/// The rows of [`Tensor`]'s table for the methods of this file, to which an op adds its name.
macro_rules! subjects {
    () => {
        subject!("softmax, and rows by index": softmax log_softmax cross_entropy_rows gather_rows scatter_add_rows)
    };
}
pub(super) use subjects;

/// # Softmax, and rows by index
impl Tensor {
    /// `eˣ / Σ eˣ` along an axis, stable. A slice of only -∞ gives zeros.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1000.0f32, 1000.0, f32::NEG_INFINITY], [3], &device)?;
    /// assert_eq!(x.softmax(0).to_vec::<f32>()?, [0.5, 0.5, 0.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn softmax(&self, axis: isize) -> Self {
        self.along_axis("softmax", axis, RowOp::Softmax { log: false }, Location::caller())
    }

    /// `x - ln Σ eˣ` along an axis, stable. A slice of only -∞ stays -∞.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[0.0f32, 1000.0], [2], &device)?;
    /// assert_eq!(x.log_softmax(0).to_vec::<f32>()?, [-1000.0, 0.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn log_softmax(&self, axis: isize) -> Self {
        self.along_axis("log_softmax", axis, RowOp::Softmax { log: true }, Location::caller())
    }

    /// An op that takes floats row by row and keeps their shape, along any axis.
    fn along_axis(&self, name: &'static str, axis: isize, op: RowOp, at: super::At) -> Self {
        Self::guard(name, &[self], at, |n| {
            need_float(n[0])?;
            let axis = need_axis(&n[0].shape, axis)?;
            let last = n[0].shape.rank() - 1;
            if axis == last {
                return Ok(Self::build(Op::Row(op), &[self], n[0].shape, n[0].dtype));
            }
            let mut order: Vec<usize> = (0..=last).collect();
            order.swap(axis, last);
            Ok(self.permute(&order).along_axis(name, -1, op, at).permute(&order))
        })
    }

    /// The cross-entropy of each row: logits `[n, c]` and integer labels `[n]` give `[n]`,
    /// `-log_softmax(logits)[i, labels[i]]`. [`cross_entropy`](Self::cross_entropy) is the usual loss.
    ///
    /// Labels are checked against `0..c`: those that were made on the host at once, through any views and casts; those that a device
    /// computed when they are used, which the next value that is read reports ([`Error::Index`](crate::Error::Index)).
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let p = Tensor::from_slice(&[0.25f32, 0.75, 0.5, 0.5], [2, 2], &device)?;
    /// let labels = Tensor::from_slice(&[1, 0], [2], &device)?;
    /// let losses = p.log().cross_entropy_rows(&labels).to_vec::<f32>()?; // -ln 0.75 and -ln 0.5
    /// assert_eq!(format!("{losses:.4?}"), "[0.2877, 0.6931]");
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn cross_entropy_rows(&self, labels: &Self) -> Self {
        self.cross_entropy_as("cross_entropy_rows", labels, Location::caller())
    }

    pub(crate) fn cross_entropy_as(&self, name: &'static str, labels: &Self, at: super::At) -> Self {
        let labels = as_index(labels);
        Self::guard(name, &[self, &labels], at, |n| {
            need_float(n[0])?;
            let (logits, index) = (n[0].shape, n[1].shape);
            if logits.rank() != 2 || index.rank() != 1 || logits[0] != index[0] {
                if logits.rank() == 2 && index.rank() == 1 {
                    let reason = format!("{} for {} of logits", counted(index[0], "label"), counted(logits[0], "row"));
                    return Err(Fault::shape(reason, "give one label per row"));
                }
                return Err(Fault::shape("logits must be [n, classes] and labels [n]", "flatten other axes into n"));
            }
            if n[1].dtype != DType::I32 {
                let reason = format!("labels are {}, not i32", n[1].dtype);
                return Err(Fault::dtype(reason, "cast them: .cast(DType::I32)"));
            }
            if logits[1] == 0 && logits[0] > 0 {
                return Err(Fault::shape("there are no classes", "give logits of at least one class"));
            }
            let help = "labels count classes from 0; the logits' second axis is the class count";
            let range = Range::new(name, logits[1], help, at).ignorable("use cross_entropy_with and set");
            let labels = range.checked(&labels);
            let kept = Self::build(Op::Row(RowOp::CrossEntropy), &[self, &labels], Shape::of(&[3, logits[0]]), n[0].dtype);
            Ok(kept.slice(0, 0, 1).reshape([logits[0]]))
        })
    }

    /// Rows by index: a table `[rows, d]` and an index `[n]` give `[n, d]`. The gradient adds up rows that are taken
    /// several times.
    ///
    /// Indices are checked against `0..rows`: those that were made on the host at once, through any views and casts; those that a
    /// device computed when they are used, which the next value that is read reports ([`Error::Index`](crate::Error::Index)).
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let table = Tensor::arange(0.0, 6.0, 1.0, &device)?.reshape([3, 2]);
    /// let index = Tensor::from_slice(&[2, 2, 0], [3], &device)?;
    /// assert_eq!(table.gather_rows(&index).to_vec::<f32>()?, [4.0, 5.0, 4.0, 5.0, 0.0, 1.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn gather_rows(&self, index: &Self) -> Self {
        self.gathered(index, true, Location::caller())
    }

    /// As [`Tensor::gather_rows`], by an index that is within range.
    #[track_caller]
    pub(crate) fn gather_rows_within(&self, index: &Self) -> Self {
        self.gathered(index, false, Location::caller())
    }

    fn gathered(&self, index: &Self, check: bool, at: super::At) -> Self {
        let index = as_index(index);
        Self::guard("gather_rows", &[self, &index], at, |n| {
            if n[0].shape.rank() != 2 || n[1].shape.rank() != 1 {
                return Err(Fault::shape("the table must be [rows, d] and the index [n]", "reshape them first"));
            }
            need_index(n[1])?;
            if n[0].shape[0] == 0 && n[1].shape[0] > 0 {
                return Err(Fault::shape("the table has no rows", "gather from a table with rows"));
            }
            let range = Range::new("gather_rows", n[0].shape[0], "indices count rows from 0", at);
            let index = if check { range.checked(&index) } else { index.clone() };
            let shape = Shape::of(&[n[1].shape[0], n[0].shape[1]]);
            Ok(Self::build(Op::Row(RowOp::Gather), &[self, &index], shape, n[0].dtype))
        })
    }

    /// The adjoint of [`Tensor::gather_rows`]: `[n, d]` and an index `[n]` give `[rows, d]`, where rows with the same index add
    /// up in a fixed order.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let rows = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], [3, 2], &device)?;
    /// let index = Tensor::from_slice(&[0, 2, 0], [3], &device)?;
    /// assert_eq!(rows.scatter_add_rows(3, &index).to_vec::<f32>()?, [6.0, 8.0, 0.0, 0.0, 3.0, 4.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn scatter_add_rows(&self, rows: usize, index: &Self) -> Self {
        self.scattered_rows(rows, index, true, Location::caller())
    }

    /// As [`Tensor::scatter_add_rows`], by an index that is within range.
    #[track_caller]
    pub(crate) fn scatter_add_rows_within(&self, rows: usize, index: &Self) -> Self {
        self.scattered_rows(rows, index, false, Location::caller())
    }

    fn scattered_rows(&self, rows: usize, index: &Self, check: bool, at: super::At) -> Self {
        let index = as_index(index);
        Self::guard("scatter_add_rows", &[self, &index], at, |n| {
            if n[0].shape.rank() != 2 || n[1].shape.rank() != 1 || n[0].shape[0] != n[1].shape[0] {
                return Err(Fault::shape("the rows must be [n, d] and the index [n]", "reshape them first"));
            }
            need_index(n[1])?;
            need_float(n[0])?;
            if rows == 0 && n[1].shape[0] > 0 {
                return Err(Fault::attribute("there are no rows to add to", "use rows >= 1"));
            }
            let range = Range::new("scatter_add_rows", rows, "indices count rows from 0", at);
            let index = if check { range.checked(&index) } else { index.clone() };
            let shape = Shape::new(&[rows, n[0].shape[1]]).map_err(|e| Fault::shape(e.to_string(), "use fewer rows"))?;
            Ok(Self::build(Op::Row(RowOp::ScatterAdd), &[self, &index], shape, n[0].dtype))
        })
    }
}
