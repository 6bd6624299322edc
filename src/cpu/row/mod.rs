//! Ops over rows: for each op a file with its kernel and, separate from it, its reference in f64.

mod check;
mod cross_entropy;
mod gather;
mod norm;
mod softmax;
mod sort;

use super::reference::{Numbers, Value};
use crate::dtype::DType;
use crate::error::Result;
use crate::graph::row::RowOp;
use crate::plan::Row;
use crate::shape::Shape;
pub(super) use softmax::exponentials_below;

/// Runs an op's kernel; `dtype` is that of the first operand.
pub(super) fn run(row: &Row, dtype: DType, operands: &[&[u32]], out: &mut [u32]) {
    let [rows, cols] = row.x;
    match row.op {
        RowOp::ArgSort { descending } => sort::argsort(cols, dtype, descending, operands[0], out),
        RowOp::Softmax { log } => softmax::run(cols, log, operands[0], out),
        RowOp::SoftmaxGrad { log } => softmax::gradient(cols, log, operands, out),
        RowOp::CrossEntropy => cross_entropy::loss(cols, operands, out),
        RowOp::CrossEntropyGrad => cross_entropy::gradient(cols, operands, out),
        RowOp::RowNorm(norm) => norm::forward(&norm, cols, operands, out),
        RowOp::RowNormGrad(norm) => norm::gradient(&norm, row.x, operands, out),
        RowOp::Gather => gather::gather(rows, cols, operands, out),
        RowOp::ScatterAdd => gather::scatter_add(row.out[0], cols, operands, out),
        RowOp::Check { len, site } => out.copy_from_slice(&check::check(len, site, operands[0], operands[1])),
    }
}

/// Computes an op by its reference; `out` is the result's shape.
pub(super) fn reference(op: RowOp, x: &[&Value], out: &Shape) -> Result<Numbers> {
    match op {
        RowOp::ArgSort { descending } => Ok(sort::reference::argsort(x[0], descending)),
        RowOp::Softmax { log } => softmax::reference::softmax(x[0], log),
        RowOp::SoftmaxGrad { log } => softmax::reference::gradient(x[0], x[1], log),
        RowOp::CrossEntropy => cross_entropy::reference::loss(x[0], x[1]),
        RowOp::CrossEntropyGrad => cross_entropy::reference::gradient([x[0], x[1], x[2], x[3]]),
        RowOp::RowNorm(norm) => norm::reference::forward(&norm, x),
        RowOp::RowNormGrad(norm) => norm::reference::gradient(&norm, x),
        RowOp::Gather => gather::reference::gather(x[0], x[1]),
        RowOp::ScatterAdd => gather::reference::scatter_add(x[0], x[1], out),
        RowOp::Check { len, site } => check::reference::check(len, site, x[0], x[1]),
    }
}
