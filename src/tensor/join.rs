//! Joining tensors, along an axis or a new one.

use super::{Fault, Tensor, need_axis, need_possible};
use crate::dtype::DType;
use crate::error::Result;
use crate::graph::Op;
use crate::lazy::Origin;
use crate::lazy::{Node, Payload};
use crate::shape::MAX_RANK;
use std::panic::Location;

/// # Joining
impl Tensor {
    /// Joins tensors along an axis, along which their lengths add up; the other dimensions and the dtypes must agree. The list
    /// may contain tensors, as a `&Vec<Tensor>` does, or references.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let a = Tensor::from_slice(&[1.0f32, 2.0], [1, 2], &device)?;
    /// let b = Tensor::from_slice(&[3.0f32], [1, 1], &device)?;
    /// assert_eq!(Tensor::cat(&[&a, &b], 1).to_vec::<f32>()?, [1.0, 2.0, 3.0]);
    /// let parts = a.chunk(2, 1)?;
    /// assert_eq!(Tensor::cat(&parts, 0).shape()?, [2, 1]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn cat(tensors: &[impl AsRef<Self>], axis: isize) -> Self {
        let tensors = &listed(tensors);
        let at = Location::caller();
        Self::guard("cat", tensors, at, |n| {
            let Some(first) = n.first() else {
                return Err(Fault::shape("no tensors were given", "give at least one"));
            };
            let d = need_axis(&first.shape, axis)?;
            for other in n {
                if other.dtype != first.dtype {
                    return Err(Fault::dtype(format!("dtypes {} and {} differ", first.dtype, other.dtype), "cast one"));
                }
                if !crate::graph::op::same_except(&first.shape, &other.shape, d) {
                    let reason = format!("shapes {} and {} differ outside axis {d}", first.shape, other.shape);
                    return Err(Fault::shape(reason, "only the joined axis may differ"));
                }
            }
            need_possible(&first.shape.with(d, n.iter().fold(0, |sum: usize, t| sum.saturating_add(t.shape[d]))))?;
            let pieces: Vec<&Self> = tensors.iter().zip(n).filter(|(_, node)| node.shape[d] > 0).map(|(&t, _)| t).collect();
            Ok(if pieces.is_empty() { tensors[0].clone() } else { join(&pieces, d).unwrap_or_else(Self::from_error) })
        })
    }

    /// Joins tensors of one shape along a new axis, whose length is their number. [`Tensor::cat`] joins along an existing axis.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let a = Tensor::from_slice(&[1.0f32, 2.0], [2], &device)?;
    /// let b = Tensor::from_slice(&[3.0f32, 4.0], [2], &device)?;
    /// assert_eq!(Tensor::stack(&[&a, &b], 1).to_vec::<f32>()?, [1.0, 3.0, 2.0, 4.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn stack(tensors: &[impl AsRef<Self>], axis: isize) -> Self {
        let tensors = &listed(tensors);
        Self::guard("stack", tensors, Location::caller(), |n| {
            let Some(first) = n.first() else {
                return Err(Fault::shape("no tensors were given", "give at least one"));
            };
            if let Some(other) = n.iter().find(|t| t.shape != first.shape) {
                let reason = format!("shapes {} and {} differ", first.shape, other.shape);
                return Err(Fault::shape(reason, "stack tensors of one shape, or join them with cat"));
            }
            if let Some(other) = n.iter().find(|t| t.dtype != first.dtype) {
                return Err(Fault::dtype(format!("dtypes {} and {} differ", first.dtype, other.dtype), "cast one"));
            }
            let rank = first.shape.rank() as isize;
            if !(-rank - 1..=rank).contains(&axis) {
                let reason = format!("no axis can be added at {axis} to shape {}", first.shape);
                return Err(Fault::axis(reason, format!("use -{}..={rank}", rank + 1)));
            }
            if first.shape.rank() == MAX_RANK {
                return Err(Fault::shape(
                    "there is no room for another axis",
                    format!("use tensors of fewer than {MAX_RANK} axes"),
                ));
            }
            let raised: Vec<Self> = tensors.iter().map(|t| t.unsqueeze(axis)).collect();
            Ok(Self::cat(&raised, axis))
        })
    }
}

/// The tensors of a list.
pub(super) fn listed(tensors: &[impl AsRef<Tensor>]) -> Vec<&Tensor> {
    tensors.iter().map(AsRef::as_ref).collect()
}

/// Joins tensors along axis `d` in pairs, as a balanced tree: many tensors make several kernels, each of which reads a few.
fn join(tensors: &[&Tensor], d: usize) -> Result<Tensor> {
    if let [one] = tensors {
        return Ok((*one).clone());
    }
    let (front, back) = tensors.split_at(tensors.len() / 2);
    let (front, back) = (join(front, d)?, join(back, d)?);
    let shape = front.shape()?;
    let (ahead, behind) = (shape[d], back.shape()?[d]);
    let padded = |t: &Tensor, amount: (usize, usize)| {
        let mut amounts = vec![(0, 0); shape.rank()];
        amounts[d] = amount;
        t.pad(&amounts)
    };
    let mut dims = vec![1; shape.rank()];
    dims[d] = ahead + behind;
    let position = Tensor::iota(ahead + behind, DType::I32, &front.device()?)?.reshape(dims);
    // Each half padded to the whole, then selected by position: NaN in one half cannot reach the other.
    let first = position.lt(&position.scalar_like(ahead as f64));
    let joined = first.where_(&padded(&front, (0, behind)), &padded(&back, (ahead, 0)));
    let node = joined.node()?;
    if node.op != Op::Where {
        return Ok(joined);
    }
    let inputs = node.inputs().to_vec();
    let (shape, dtype) = (node.shape, node.dtype);
    let joined = Node::new(Op::Where, inputs, shape, dtype, &node.device, Payload::Join, node.requires_grad);
    joined.state().origin = Origin::joined(&front, &back, d, shape);
    Ok(Tensor::from_node(joined))
}
