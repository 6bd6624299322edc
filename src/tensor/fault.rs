//! What can be wrong with a call of an op, and the checks that many ops share.

use crate::dtype::DType;
use crate::error::{Error, OpError, OpErrorKind, counted};
use crate::lazy::Node;
use crate::shape::{MAX_PIECES, MAX_RANK, Shape, product};
use std::panic::Location;

/// Where an op was called: errors report it.
pub(crate) type At = &'static Location<'static>;

/// What is wrong with a call, before the op's name and operands are added.
#[derive(Debug)]
pub(crate) struct Fault {
    pub kind: OpErrorKind,
    pub reason: String,
    pub help: String,
}

impl Fault {
    pub fn new(kind: OpErrorKind, reason: impl Into<String>, help: impl Into<String>) -> Self {
        Self { kind, reason: reason.into(), help: help.into() }
    }

    pub fn shape(reason: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(OpErrorKind::Shape, reason, help)
    }

    pub fn dtype(reason: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(OpErrorKind::DType, reason, help)
    }

    pub fn axis(reason: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(OpErrorKind::Axis, reason, help)
    }

    pub fn attribute(reason: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(OpErrorKind::Attribute, reason, help)
    }

    /// The error of a call of `op` on these operands.
    pub fn of(self, op: &'static str, operands: Vec<(Shape, DType)>, at: At) -> Error {
        let Self { kind, reason, help } = self;
        Error::Op(Box::new(OpError { kind, op, operands, reason, help, at }))
    }

    /// A result of an impossible shape.
    pub fn too_large(shape: &[usize]) -> Self {
        let reason = format!("a result of shape {shape:?} is too large: it has more elements than memory can address");
        Self::new(OpErrorKind::TooLarge, reason, "use smaller sizes")
    }
}

/// The shape of a result, from lengths that may have been saturated.
pub(crate) fn need_possible(dims: &[usize]) -> Result<Shape, Fault> {
    if dims.len() > MAX_RANK {
        return Err(Fault::shape(
            format!("the result would have {} axes", dims.len()),
            format!("at most {MAX_RANK} axes are supported"),
        ));
    }
    let shape = Shape::of(dims);
    if shape.is_possible() { Ok(shape) } else { Err(Fault::too_large(dims)) }
}

/// Faults on a call that would make too many tensors of one.
pub(crate) fn need_few(what: &str, count: usize) -> Result<(), Fault> {
    if count <= MAX_PIECES {
        return Ok(());
    }
    let reason = format!("{count} {what} are too many for one call");
    Err(Fault::new(OpErrorKind::TooLarge, reason, format!("use at most {MAX_PIECES}")))
}

/// Checks that a node has a floating-point dtype.
pub(crate) fn need_float(node: &Node) -> Result<(), Fault> {
    if node.dtype.is_float() {
        return Ok(());
    }
    Err(Fault::dtype(format!("{} is not a floating-point dtype", node.dtype), "cast it to f32 first"))
}

/// How to compute with bytes.
pub(super) const CAST_U8: &str = "cast it to f32 first (or to i32 or u32)";

/// Refuses truth values and bytes, which have no arithmetic.
pub(crate) fn need_number(node: &Node) -> Result<(), Fault> {
    match node.dtype {
        DType::Bool => Err(Fault::dtype("bool has no arithmetic", "cast it to f32 or i32 first")),
        DType::U8 => Err(Fault::dtype("u8 is a storage type without arithmetic", CAST_U8)),
        _ => Ok(()),
    }
}

/// Checks the channels of a convolution with weights `[co, ci/groups, ..]`.
pub(super) fn need_channels(ci: usize, weight: &Shape, groups: usize) -> Result<(), Fault> {
    let taken = product(&[weight[1], groups]);
    if ci != taken {
        let split = if groups == 1 { String::new() } else { format!(" ({groups} groups of {})", weight[1]) };
        let reason = format!("the input has {}, and the weight {weight} takes {taken}{split}", counted(ci, "channel"));
        return Err(Fault::shape(reason, "the weight's second axis is the input's channels divided by groups"));
    }
    if !weight[0].is_multiple_of(groups) {
        let reason = format!("{} cannot be split into {groups} groups", counted(weight[0], "output channel"));
        return Err(Fault::shape(reason, "use a number of groups that divides both channels"));
    }
    Ok(())
}

/// Resolves an axis, or faults with the valid range.
pub(crate) fn need_axis(shape: &Shape, axis: isize) -> Result<usize, Fault> {
    shape.axis(axis).ok_or_else(|| {
        let rank = shape.rank();
        let range =
            if rank == 0 { "a scalar has no axes".to_owned() } else { format!("use an axis from -{rank} to {}", rank - 1) };
        Fault::axis(format!("axis {axis} is outside shape {shape}"), range)
    })
}
