//! Reductions to two values: their gradient rule, and sums of two tensors at once.

use crate::error::Result;
use crate::graph::Op;
use crate::graph::op::{PairOp, without};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Row `k` of `[2, n]` in another shape.
pub(super) fn half(both: &Tensor, k: isize, shape: Shape) -> Tensor {
    both.narrow(0, k, 1).reshape(shape)
}

/// Σ a and Σ b over `axes`, as `[2, n]`.
pub(super) fn sums(axes: &[usize], a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let shape = Shape::of(&[2, without(a.shape()?, axes).numel()]);
    Ok(Tensor::build(Op::Pair { op: PairOp::Sums, axes: axes.to_vec() }, &[a, b], shape, a.dtype()?))
}

/// One gradient per input.
pub(super) fn rule(op: PairOp, axes: &[usize], inputs: &[Tensor], out: &Tensor, ct: &Tensor) -> Result<Vec<Option<Tensor>>> {
    let x = &inputs[0];
    let shape = x.shape()?;
    let narrow = without(shape, axes);
    let wide = |k| half(ct, k, narrow).broadcast_to(shape);
    Ok(match op {
        PairOp::Sums => vec![Some(wide(0)), Some(wide(1))],
        PairOp::Moments => {
            let share = narrow.numel() as f64 / shape.numel() as f64;
            vec![Some((wide(0) + wide(1) * (x - half(out, 0, narrow)) * 2.0) * share)]
        }
    })
}
