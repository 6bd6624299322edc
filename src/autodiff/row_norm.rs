//! Gradient rules of normalised rows.

use super::pair;
use crate::error::Result;
use crate::graph::Op;
use crate::graph::row::{RowNorm, RowOp};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Elements `from..from + shape.numel()` of a vector, in that shape.
fn piece(vector: &Tensor, from: usize, shape: Shape) -> Tensor {
    vector.slice(0, from as isize, (from + shape.numel()) as isize).reshape(shape)
}

/// Where the parts of the parameters' gradients are in the vector of a [`RowOp::RowNormGrad`]: for each, the first of the parts'
/// elements, and all parts' shape; if a channel is more than a column, that shape is both's.
fn places(norm: RowNorm, x: Shape) -> (usize, usize, Shape) {
    let (rows, cols) = (x[0], x[1]);
    let parts = norm.parts([rows, cols]);
    let first = rows * cols;
    if norm.by_column() {
        let second = first + if norm.scale { parts.count * cols } else { 0 };
        (first, second, Shape::of(&[parts.count, cols]))
    } else {
        (first, first, Shape::of(&[parts.count, norm.groups * norm.channels(cols), 4]))
    }
}

/// Of a row normalisation: one kernel for all three gradients, whose parts are added up.
pub(super) fn forward(norm: RowNorm, inputs: &[Tensor], ct: &Tensor) -> Result<Vec<Option<Tensor>>> {
    let shape = inputs[0].shape()?;
    let mut operands = vec![&inputs[0], ct];
    operands.extend(inputs[1..].first().filter(|_| norm.scale));
    let len = Shape::of(&[norm.gradient_len([shape[0], shape[1]])]);
    let all = Tensor::build(Op::Row(RowOp::RowNormGrad(norm)), &operands, len, ct.dtype()?);
    let (first, second, parts) = places(norm, shape);
    let sums = |place: usize, element: isize| {
        let parts = piece(&all, place, parts);
        if norm.by_column() { parts.sum_dim(0) } else { parts.slice(2, element, element + 1).sum_dim([0, 2]) }
    };
    let mut gradients = vec![Some(piece(&all, 0, shape))];
    if norm.by_column() && norm.scale && norm.shift {
        // Both sums at once.
        let both = pair::sums(&[0], &piece(&all, first, parts), &piece(&all, second, parts))?;
        let columns = Shape::of(&shape[1..]);
        gradients.extend([0, 1].map(|k| Some(pair::half(&both, k, columns))));
        return Ok(gradients);
    }
    gradients.extend(norm.scale.then(|| Some(sums(first, 0))));
    gradients.extend(norm.shift.then(|| Some(sums(second, 1))));
    Ok(gradients)
}

/// Of the gradient of a row normalisation, by its decomposition. With d the centred row, r = 1 / √(variance + eps), n = d·r,
/// g = ct·scale and u, a, b the cotangents of dx and of the elements' terms of both parameters' gradients, it is that of
/// `Σ u·r·(g - mean(g) - n·mean(g·n)) + a·ct·n + b·ct`.
pub(super) fn gradient(norm: RowNorm, inputs: &[Tensor], cotangent: &Tensor) -> Result<Vec<Option<Tensor>>> {
    let (x, ct) = (&inputs[0], &inputs[1]);
    let shape = x.shape()?;
    let (rows, cols) = (shape[0], shape[1]);
    let (first, second, parts) = places(norm, shape);
    let (groups, channels, examples) = (norm.groups, norm.channels(cols), rows / norm.groups);
    // One element per example and channel, in all elements of the channel.
    let spread = |t: Tensor| {
        let wide = Shape::of(&[examples, groups, channels, norm.positions]);
        let count = t.shape()?.numel() / (groups * channels);
        Ok(t.reshape([count, groups, channels, 1]).broadcast_to(wide).reshape(shape))
    };
    // A part's element, in all its examples.
    let of_part = |place: usize, element: isize| {
        let all = piece(cotangent, place, parts);
        let own = if norm.by_column() { all } else { all.slice(2, element, element + 1) };
        let each = norm.parts([rows, cols]).each;
        let wide = own.reshape([parts[0], 1, parts[1]]).broadcast_to(Shape::of(&[parts[0], each, parts[1]]));
        spread(wide.reshape([parts[0] * each, parts[1]]).slice(0, 0, examples as isize))
    };
    let mean = |t: &Tensor| t.mean_keepdim(1);
    let centred = |t: &Tensor| if norm.centre { t - mean(t) } else { t.clone() };
    let scaled = |t: &Tensor| -> Result<Tensor> { Ok(if norm.scale { t * spread(inputs[2].clone())? } else { t.clone() }) };
    let d = centred(x);
    let r = (mean(&d.square()) + norm.eps()).rsqrt();
    let n = &d * &r;
    let (g, u) = (scaled(ct)?, piece(cotangent, 0, shape));
    let (s, t) = (mean(&(&u * &n)), mean(&(&g * &n)));
    let by_g = (centred(&u) - &n * &s) * &r;
    let mut by_n = -(&u * &t + &g * &s) * &r;
    let mut by_ct = scaled(&by_g)?;
    if norm.scale {
        let a = of_part(first, 0)?;
        by_n += &a * ct;
        by_ct += a * &n;
    }
    if norm.shift {
        by_ct += of_part(second, 1)?;
    }
    let by_r = mean(&(centred(&u) * &g)) - s * t;
    let by_x = (centred(&by_n) - &n * mean(&(&by_n * &n))) * &r - n * r.square() * by_r;
    let mut gradients = vec![Some(by_x), Some(by_ct)];
    if norm.scale {
        let products = (by_g * ct).reshape([examples, groups * channels, norm.positions]);
        gradients.push(Some(products.sum_dim([0, 2])));
    }
    Ok(gradients)
}
