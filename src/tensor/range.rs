//! The range of indices: those that the host knows are checked at the call, those that a device computes where they are used.
//!
//! A check of the device is a node between the indices and the op, whose value is that of the indices: an evaluation reads through
//! it, and checks the indices once, beside the op.

use super::origin::outside;
use super::{At, Fault, Tensor};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::Op;
use crate::graph::row::RowOp;
use crate::lazy::{Node, Origin, Payload};
use crate::site::{Site, ignorable};
use std::sync::Arc;

/// Nodes below an index that are looked at for its range.
const FEW: usize = 16;

/// What an op asks of its indices.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    op: &'static str,
    len: usize,
    help: &'static str,
    at: At,
    but: Option<i32>,
    ignorable: Option<&'static str>,
}

impl Range {
    /// To be in `0..len`; errors give the help, and the place of the call.
    pub fn new(op: &'static str, len: usize, help: &'static str, at: At) -> Self {
        Self { op, len, help, at, but: None, ignorable: None }
    }

    /// One index may be outside.
    pub fn but(self, but: Option<i32>) -> Self {
        Self { but, ..self }
    }

    /// The index that may be outside.
    pub fn ignored(&self) -> Option<i32> {
        self.but
    }

    /// A label below 0 can be left out: see [`ignorable`].
    pub fn ignorable(self, how: &'static str) -> Self {
        Self { ignorable: Some(how), ..self }
    }

    /// The index, checked: it carries an error if the host knows a wrong one.
    pub fn checked(&self, index: &Tensor) -> Tensor {
        let error = match index.node() {
            Ok(node) if Self::is_for_device(node) => return self.on_device(index),
            Ok(node) => self.wrong(node),
            Err(_) => None,
        };
        error.map_or_else(|| index.clone(), Tensor::from_error)
    }

    /// Whether the host cannot check an index.
    pub fn is_for_device(index: &Arc<Node>) -> bool {
        Self::is_computed(index) && !(index.device.is_cpu() && index.is_realised())
    }

    /// Whether a device computed an index, so that the host cannot check what views show of it.
    pub fn is_computed(index: &Node) -> bool {
        matches!(index.state().origin, Origin::Device)
    }

    /// The error of an index that the host knows to be wrong.
    pub fn wrong(&self, index: &Arc<Node>) -> Option<Error> {
        let Self { op, len, help, at, but, .. } = *self;
        let error = match outside(index, len, but) {
            Ok(found) => found.map(|(position, index)| Error::Index { op, index, position, len, help: help.into(), at })?,
            Err(error) => return Some(error),
        };
        Some(self.ignorable.map_or(error.clone(), |how| ignorable(error, how)))
    }

    /// The index, which a device checks when it is used, unless it cannot be out of range.
    pub fn on_device(&self, index: &Tensor) -> Tensor {
        let Ok(node) = index.node() else { return index.clone() };
        if node.shape.numel() == 0 || is_within(node, self.len, &mut 0) {
            return index.clone();
        }
        let (unsigned, Self { op, help, ignorable, at, .. }) = (is_unsigned(node, FEW), *self);
        let site = Site { op, help, ignorable, unsigned, at }.number();
        let check = RowOp::Check { len: u32::try_from(self.len).unwrap_or(u32::MAX), site };
        Tensor::build(Op::Row(check), &[index], node.shape, DType::I32)
    }
}

/// Whether an index is in `0..len` by how it is made.
fn is_within(node: &Arc<Node>, len: usize, seen: &mut usize) -> bool {
    *seen += 1;
    if *seen > FEW {
        return false;
    }
    let inputs = node.inputs();
    match (&node.op, &*inputs) {
        (Op::Row(RowOp::Check { len: checked, .. }), _) => *checked as usize <= len,
        (Op::Iota, _) => node.shape.numel() <= len,
        (Op::Scalar, _) => matches!(node.payload, Payload::Scalar(value) if (0.0..len as f64).contains(&value)),
        (Op::Row(RowOp::ArgSort { .. }), _) => node.shape.last().is_some_and(|&n| n <= len),
        (Op::ArgReduce { axis, .. }, [x]) => x.shape[*axis] <= len,
        (Op::Reshape | Op::Permute(_) | Op::Expand | Op::Slice { .. } | Op::Pad { .. }, [x]) => is_within(x, len, seen),
        (Op::Where, [_, a, b]) => is_within(a, len, seen) && is_within(b, len, seen),
        (Op::Cast, [x]) => x.dtype == DType::Bool && len > 1,
        _ => false,
    }
}

/// Whether what an index shows are u32.
fn is_unsigned(node: &Arc<Node>, few: usize) -> bool {
    let inputs = node.inputs();
    match (&node.op, &*inputs) {
        (Op::Cast, [x]) => x.dtype == DType::U32,
        (Op::Where, [_, x, _]) => few > 0 && is_unsigned(x, few - 1),
        (op, [x]) if op.is_movement() => few > 0 && is_unsigned(x, few - 1),
        _ => false,
    }
}

/// U32 indices are taken as i32.
pub(crate) fn as_index(index: &Tensor) -> Tensor {
    match index.dtype() {
        Ok(DType::U32) => index.cast(DType::I32),
        _ => index.clone(),
    }
}

/// Faults on indices that are not i32.
pub(crate) fn need_index(node: &Node) -> Result<(), Fault> {
    if node.dtype == DType::I32 {
        return Ok(());
    }
    Err(Fault::dtype(format!("indices are {}, not i32", node.dtype), "cast them: .cast(DType::I32)"))
}
