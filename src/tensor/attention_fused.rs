//! Attention as one op, without its matrix of scores: operands in the form that the op takes, and its gradient.

use super::Tensor;
use crate::dtype::DType;
use crate::error::Result;
use crate::graph::Op;
use crate::graph::attention::{AttentionMask, AttentionOp, AttentionPart, AttentionSizes};
use crate::lazy::{GradientRule, Node, Payload, VjpAt, grad_enabled, no_grad};
use crate::shape::{Shape, product};
use std::sync::Arc;

/// The most elements of a query and of a value.
const WIDEST: usize = 128;

/// Queries, keys, values and perhaps a mask as the op takes them: `[b, h, l, d]`, `[b, hk, s, d]`, `[b, hk, s, e]`, `[b, h, l, s]`.
#[derive(Debug)]
pub(super) struct Fused {
    op: AttentionOp,
    sizes: AttentionSizes,
    /// The same by other ops, over operands in which the heads that share keys have an axis of their own: `[b, hk, h / hk, l, d]`
    /// and so on. For derivatives of the gradient.
    composed: Arc<dyn GradientRule>,
}

/// Whether the op takes operands like these; queries, keys, values and perhaps a mask.
pub(super) fn takes(operands: &[Tensor]) -> bool {
    let nodes: Option<Vec<_>> = operands.iter().map(|t| t.node().ok()).collect();
    let Some(nodes) = nodes else { return false };
    let last = |n: usize| nodes[n].shape[nodes[n].shape.rank() - 1];
    let floats = nodes[..3].iter().all(|n| n.dtype == DType::F32);
    let mask = nodes.get(3).is_none_or(|m| matches!(m.dtype, DType::F32 | DType::Bool) && !m.requires_grad);
    let sized = nodes.iter().all(|n| n.shape.numel() > 0) && last(0).max(last(2)) <= WIDEST;
    floats && mask && sized && nodes[0].device.executor().fuses_attention()
}

impl Fused {
    /// The result, of shape `out`, for operands that the op takes.
    #[track_caller]
    pub fn run(operands: &[Tensor], out: Shape, causal: bool, scale: f64, composed: Arc<dyn GradientRule>) -> Result<Tensor> {
        let operands = canonical(operands, &out)?;
        let mask = match operands.get(3).map(Tensor::dtype).transpose()? {
            None => AttentionMask::None,
            Some(DType::Bool) => AttentionMask::Bool,
            Some(_) => AttentionMask::Added,
        };
        let op = AttentionOp { part: AttentionPart::Forward, causal, mask, scale: scale.to_bits() };
        let sizes = AttentionSizes::of(operands[0].shape()?, operands[1].shape()?, operands[2].shape()?);
        let (both, value) = no_grad(|| {
            let inputs: Vec<&Tensor> = operands.iter().collect();
            let both = Tensor::build(Op::Attention(op), &inputs, Shape::of(&[sizes.elements(op.part)]), DType::F32);
            let value = piece(&both, 0, [sizes.batch, sizes.queries, sizes.heads, sizes.value_width]);
            (both, value)
        });
        let (shape, device) = (value.shape()?, value.device()?);
        let result = if grad_enabled() && operands.iter().any(Tensor::requires_grad) {
            let nodes = std::iter::once(&value).chain(&operands).chain([&both]);
            let nodes = nodes.map(|t| t.node().cloned()).collect::<Result<Vec<_>>>()?;
            let rule = Payload::Gradient(Arc::new(Self { op, sizes, composed }));
            Tensor::from_node(Node::new(Op::Recomputed, nodes, shape, DType::F32, &device, rule, true))
        } else {
            value
        };
        Ok(result.reshape(out))
    }

    /// The gradient by other ops, which can be differentiated.
    fn composed(&self, operands: &[Tensor], ct: &Tensor, vjp_at: VjpAt) -> Result<Vec<Option<Tensor>>> {
        let (hk, group) = (self.sizes.key_heads, self.sizes.group());
        let split = |t: &Tensor, heads: [usize; 2]| {
            let [b, _, rows, width] = t.dims::<4>()?;
            Ok(t.reshape([b, heads[0], heads[1], rows, width]))
        };
        let heads = |n: usize| if n == 1 || n == 2 { [hk, 1] } else { [hk, group] };
        let apart = operands.iter().enumerate().map(|(n, t)| split(t, heads(n))).collect::<Result<Vec<_>>>()?;
        let parts = self.composed.vjp(&apart, &split(ct, [hk, group])?, vjp_at)?;
        let back = |(part, t): (Option<Tensor>, &Tensor)| part.map(|p| Ok(p.reshape(t.shape()?))).transpose();
        parts.into_iter().zip(operands).map(back).collect()
    }
}

impl GradientRule for Fused {
    fn vjp(&self, operands: &[Tensor], ct: &Tensor, vjp_at: VjpAt) -> Result<Vec<Option<Tensor>>> {
        let (both, operands) = operands.split_last().ok_or_else(|| crate::Error::internal("an attention without operands"))?;
        if grad_enabled() && (ct.requires_grad() || operands.iter().any(Tensor::requires_grad)) {
            let mut parts = self.composed(operands, ct, vjp_at)?;
            parts.push(None);
            return Ok(parts);
        }
        let n = self.sizes;
        let op = AttentionOp { part: AttentionPart::Gradient, ..self.op };
        let mut inputs = vec![&operands[0], &operands[1], &operands[2], both, ct];
        inputs.extend(operands.get(3));
        let all = Tensor::build(Op::Attention(op), &inputs, Shape::of(&[n.elements(op.part)]), DType::F32);
        let (to_k, to_v) = (n.rows() * n.width, n.rows() * n.width + n.key_rows() * n.width);
        let mut parts = vec![
            Some(piece(&all, 0, [n.batch, n.queries, n.heads, n.width])),
            Some(piece(&all, to_k, [n.batch, n.keys, n.key_heads, n.width])),
            Some(piece(&all, to_v, [n.batch, n.keys, n.key_heads, n.value_width])),
        ];
        parts.resize(operands.len() + 1, None);
        Ok(parts)
    }
}

/// A part of a flat tensor from `start` on, of this shape, with the middle axes swapped.
fn piece(all: &Tensor, start: usize, shape: [usize; 4]) -> Tensor {
    let stop = start + product(&shape);
    all.slice(0, start as isize, stop as isize).reshape(shape).permute(&[0, 2, 1, 3])
}

/// Operands of any leading axes in the form that the op takes. Of the axes of the result, the last ones along which neither keys nor
/// values extend become heads that share them.
fn canonical(operands: &[Tensor], out: &Shape) -> Result<Vec<Tensor>> {
    let axes = &out[..out.rank() - 2];
    let leading = |t: &Tensor| {
        let shape = t.shape()?;
        let own = &shape[..shape.rank().saturating_sub(2)];
        Ok::<_, crate::Error>([vec![1; axes.len() - own.len()], own.to_vec()].concat())
    };
    let rows = |t: &Tensor| {
        let shape = t.shape()?;
        Ok::<_, crate::Error>(match shape.rank() {
            0 => [1, 1],
            1 => [1, shape[0]],
            rank => [shape[rank - 2], shape[rank - 1]],
        })
    };
    let (keys, values) = (leading(&operands[1])?, leading(&operands[2])?);
    let mut shared = (0..axes.len()).rev().take_while(|&d| keys[d] == 1 && values[d] == 1).count();
    if product(&axes[axes.len() - shared..]) == 1 {
        shared = 0;
    }
    let front = &axes[..axes.len() - shared];
    let group = product(&axes[axes.len() - shared..]);
    // The axes of examples, and that of heads of keys.
    let examples = if front.len() == 1 && shared > 0 { 1 } else { front.len().saturating_sub(1) };
    let (batch, key_heads) = (product(&front[..examples]), product(&front[examples..]));
    let heads = key_heads * group;
    let wide = |dims: &[usize], rows: [usize; 2]| Shape::of(&[dims, &rows].concat());
    let q = operands[0].broadcast_to(wide(axes, rows(&operands[0])?));
    let mut found = vec![q.reshape([[batch, heads], rows(&operands[0])?].concat())];
    for t in &operands[1..3] {
        let all = [front, &vec![1; shared]].concat();
        found.push(t.broadcast_to(wide(&all, rows(t)?)).reshape([[batch, key_heads], rows(t)?].concat()));
    }
    if let Some(mask) = operands.get(3) {
        // Only what the mask extends along is stretched before axes are joined, which a view can show.
        let (own, size) = (leading(mask)?, rows(mask)?);
        let joined = |range: std::ops::Range<usize>| match own[range.clone()].iter().all(|&n| n == 1) {
            true => (vec![1; range.len()], 1),
            false => (axes[range.clone()].to_vec(), product(&axes[range])),
        };
        let ((mut dims, b), (more, h)) = (joined(0..examples), joined(examples..axes.len()));
        dims.extend(more);
        let aligned = mask.reshape([own, size.to_vec()].concat()).broadcast_to(wide(&dims, size));
        let [l, s] = [rows(&operands[0])?[0], rows(&operands[1])?[0]];
        found.push(aligned.reshape([b, h, size[0], size[1]]).broadcast_to(Shape::of(&[batch, heads, l, s])));
    }
    Ok(found)
}
