//! Vector-Jacobian products: one rule per op, in the order of the list of ops.

use super::pair::{self, half, sums};
use super::row_norm;
use crate::dtype::DType;
use crate::error::Result;
use crate::graph::Op;
use crate::graph::op::{BinaryOp, PoolOp, ReduceOp, RowOp, UnaryOp, by_operand, without};
use crate::lazy::Payload;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// One gradient per input; `None` where no gradient flows.
type Parts = Vec<Option<Tensor>>;

/// `ct · ∂out/∂input` for each input, where `ct` has the shape of `out`. Parts for inputs that need no gradient are built
/// but never evaluated.
pub(super) fn vjp(op: &Op, inputs: &[Tensor], out: &Tensor, ct: &Tensor) -> Result<Parts> {
    Ok(match op {
        Op::Unary(UnaryOp::Relu) if by_operand(op, &inputs[0].node()?.op) => vec![Some(rectified(&inputs[0], ct))],
        Op::Unary(op) => vec![unary(*op, &inputs[0], out, ct)],
        Op::Binary(op) => binary(*op, &inputs[0], &inputs[1], out, ct),
        // Each side takes its slice of the cotangent where it was padded.
        Op::Where if matches!(out.node()?.payload, Payload::Join) => vec![None, Some(ct.clone()), Some(ct.clone())],
        Op::Where => {
            let zero = ct.zeros_like();
            vec![None, Some(inputs[0].where_(ct, &zero)), Some(inputs[0].where_(&zero, ct))]
        }
        // As in PyTorch, an F16 tensor's gradient has F16 values, though it is stored in F32.
        Op::Cast => match inputs[0].dtype()? {
            DType::F16 => vec![Some(ct.cast(DType::F16).cast(DType::F32))],
            dtype => vec![dtype.is_float().then_some(ct.cast(dtype))],
        },
        Op::Standardize { axes, scaled, shifted } => standardize(axes, [*scaled, *shifted], inputs, out, ct)?,
        Op::StandardizeGrad { axes, .. } => standardize_grad(axes, inputs, ct)?,
        Op::Reshape | Op::Permute(_) | Op::Expand | Op::Slice { .. } | Op::Pad { .. } => {
            vec![Some(movement(op, &inputs[0], ct)?)]
        }
        Op::Pair { op, axes } => pair::rule(*op, axes, inputs, out, ct)?,
        Op::Reduce { op, axes } => vec![Some(reduce(*op, axes, &inputs[0], out, ct)?)],
        Op::MatMul => vec![Some(ct.matmul(&inputs[1].t())), Some(inputs[0].t().matmul(ct))],
        Op::Conv2d(_) | Op::Conv2dInputGrad(_) | Op::Conv2dWeightGrad(_) => convolution(op, inputs, ct)?,
        Op::Pool(..) => pool(op, inputs, ct)?,
        Op::Row(op) => row(*op, inputs, out, ct)?,
        // Not differentiable, without inputs, or with a rule of its own.
        Op::Data
        | Op::Scalar
        | Op::Cell
        | Op::Iota
        | Op::Random(_)
        | Op::ArgReduce { .. }
        | Op::Recomputed
        | Op::Attention(_)
        | Op::Recurrent(_)
        | Op::Assign
        | Op::OptimStep { .. }
        | Op::OptimStore => vec![None; inputs.len()],
    })
}

fn unary(op: UnaryOp, x: &Tensor, y: &Tensor, ct: &Tensor) -> Option<Tensor> {
    use UnaryOp as U;
    Some(match op {
        U::Neg => -ct,
        U::Abs => ct * x.sign(),
        U::Sqrt => ct * 0.5 / y,
        U::Rsqrt => ct * -0.5 * y * y.square(),
        U::Reciprocal => -(ct * y.square()),
        U::Square => ct * 2.0 * x,
        U::Exp => ct * y,
        U::Expm1 => ct * (y + 1.0),
        U::Log => ct / x,
        U::Log1p => ct / (x + 1.0),
        U::Sin => ct * x.cos(),
        U::Cos => -(ct * x.sin()),
        U::Tan => ct * (y.square() + 1.0),
        U::Asin => ct * (1.0 - x.square()).rsqrt(),
        U::Acos => -(ct * (1.0 - x.square()).rsqrt()),
        U::Atan => ct / (x.square() + 1.0),
        U::Sinh => ct * x.cosh(),
        U::Cosh => ct * x.sinh(),
        U::Tanh => ct * (1.0 - y.square()),
        U::Erf => ct * std::f64::consts::FRAC_2_SQRT_PI * (-x.square()).exp(),
        U::Sigmoid => ct * y * (1.0 - y),
        U::Relu => rectified(y, ct),
        U::Softplus => ct * x.sigmoid(),
        // Piecewise constant: the gradient is 0 wherever it exists.
        U::Sign | U::Floor | U::Ceil | U::Round | U::Trunc => ct.zeros_like(),
        U::Not | U::IsNan | U::IsFinite => return None,
    })
}

/// A gradient where a value is above 0.
fn rectified(value: &Tensor, ct: &Tensor) -> Tensor {
    value.gt(&value.scalar_like(0.0)).where_(ct, &ct.scalar_like(0.0))
}

fn binary(op: BinaryOp, a: &Tensor, b: &Tensor, y: &Tensor, ct: &Tensor) -> Parts {
    use BinaryOp as B;
    let zero = || ct.scalar_like(0.0);
    let (da, db) = match op {
        B::Add => (ct.clone(), ct.clone()),
        B::Sub => (ct.clone(), -ct),
        B::Mul => (ct * b, ct * a),
        B::Div => (ct / b, -(ct * y / b)),
        B::Pow => {
            let flat = b.eq(&b.scalar_like(0.0));
            let da = flat.where_(&zero(), &(ct * b * a.pow(&(b - 1.0))));
            // 0 to a non-negative power does not change with the exponent.
            let still = a.eq(&a.scalar_like(0.0)).logical_and(&b.ge(&b.scalar_like(0.0)));
            (da, still.where_(&zero(), &(ct * y * a.log())))
        }
        B::Rem => (ct.clone(), -(ct * (a / b).floor())),
        B::Atan2 => {
            let norm = a.square() + b.square();
            (ct * b / &norm, -(ct * a / norm))
        }
        B::Minimum => share(ct, a, b),
        B::Maximum => share(ct, b, a),
        B::Eq | B::Ne | B::Lt | B::Le | B::Gt | B::Ge | B::And | B::Or | B::Xor => return vec![None, None],
    };
    vec![Some(da), Some(db)]
}

/// The gradient of a minimum, for `a` and `b`: to the smaller, or half to each where they are equal.
fn share(ct: &Tensor, a: &Tensor, b: &Tensor) -> (Tensor, Tensor) {
    let half = ct * 0.5;
    let tie = a.eq(b);
    let to = |wins: Tensor| tie.where_(&half, &wins.where_(ct, &ct.scalar_like(0.0)));
    (to(a.lt(b)), to(b.lt(a)))
}

fn row(op: RowOp, inputs: &[Tensor], out: &Tensor, ct: &Tensor) -> Result<Parts> {
    Ok(match op {
        // Positions change with the values only in jumps.
        RowOp::ArgSort { .. } => vec![None],
        RowOp::Softmax { log } => vec![Some(softmax_grad(log, out, ct)?)],
        RowOp::SoftmaxGrad { log: false } => {
            let (y, g) = (&inputs[0], &inputs[1]);
            let d_y = ct * (g - (g * y).sum_keepdim(-1)) - g * (ct * y).sum_keepdim(-1);
            // Linear in the cotangent, by a symmetric matrix.
            vec![Some(d_y), Some(softmax_grad(false, y, ct)?)]
        }
        RowOp::SoftmaxGrad { log: true } => {
            let weighted = ct * inputs[0].exp();
            vec![Some(-(&weighted * inputs[1].sum_keepdim(-1))), Some(ct - weighted.sum_keepdim(-1))]
        }
        RowOp::CrossEntropy => {
            // The kept numbers have no cotangents of their own.
            let own = ct.slice(0, 0, 1).reshape([inputs[1].shape()?[0]]);
            let operands = [&inputs[0], &inputs[1], out, &own];
            let gradient = Tensor::build(Op::Row(RowOp::CrossEntropyGrad), &operands, inputs[0].shape()?, ct.dtype()?);
            vec![Some(gradient), None]
        }
        RowOp::CrossEntropyGrad => cross_entropy_grad(inputs, ct)?,
        RowOp::RowNorm(norm) => row_norm::forward(norm, inputs, ct)?,
        RowOp::RowNormGrad(norm) => row_norm::gradient(norm, inputs, ct)?,
        RowOp::Gather => vec![Some(ct.scatter_add_rows_within(inputs[0].shape()?[0], &inputs[1])), None],
        RowOp::ScatterAdd => vec![Some(ct.gather_rows_within(&inputs[1])), None],
        RowOp::Check { .. } => vec![None],
    })
}

/// The gradient of a softmax, or of its logarithm, from its result.
fn softmax_grad(log: bool, y: &Tensor, ct: &Tensor) -> Result<Tensor> {
    Ok(Tensor::build(Op::Row(RowOp::SoftmaxGrad { log }), &[y, ct], y.shape()?, ct.dtype()?))
}

fn movement(op: &Op, x: &Tensor, ct: &Tensor) -> Result<Tensor> {
    let shape = x.shape()?;
    Ok(match op {
        Op::Permute(order) => {
            let node = ct.node()?;
            let rank = order.len();
            let swaps_last = rank >= 2 && order[..rank - 2].is_sorted() && order[rank - 2..] == [rank - 1, rank - 2];
            if swaps_last && node.op == Op::MatMul && !node.is_realised() {
                // (a·b)ᵀ = bᵀ·aᵀ, which the product writes in order, without a copy.
                let operands: Vec<Tensor> = node.inputs().iter().cloned().map(Tensor::from_node).collect();
                return Ok(operands[1].t().matmul(&operands[0].t()));
            }
            let mut inverse = vec![0; rank];
            for (d, &o) in order.iter().enumerate() {
                inverse[o] = d;
            }
            ct.permute(&inverse)
        }
        Op::Expand => {
            let wide = ct.shape()?;
            let axes: Vec<isize> = (0..shape.rank()).filter(|&d| shape[d] != wide[d]).map(|d| d as isize).collect();
            ct.sum_keepdim(&axes)
        }
        Op::Slice { start, step } => ct.unslice(&shape, start, step)?,
        Op::Pad { before } => {
            let mut inner = ct.clone();
            for (d, &b) in before.iter().enumerate() {
                inner = inner.slice(d as isize, b as isize, (b + shape[d]) as isize);
            }
            inner
        }
        _ => ct.reshape(shape),
    })
}

fn reduce(op: ReduceOp, axes: &[usize], x: &Tensor, y: &Tensor, ct: &Tensor) -> Result<Tensor> {
    let shape = x.shape()?;
    let axes: Vec<isize> = axes.iter().map(|&a| a as isize).collect();
    let zero = x.scalar_like(0.0);
    Ok(match op {
        ReduceOp::Sum => ct.broadcast_to(shape),
        ReduceOp::Prod => {
            // The product of all others, even where some are 0.
            let is_zero = x.eq(&zero);
            let safe = is_zero.where_(&x.scalar_like(1.0), x);
            let zeros = is_zero.cast(x.dtype()?).sum_keepdim(&axes);
            let others = safe.prod_keepdim(&axes) * ct;
            let none = zeros.eq(&zero).where_(&others, &zero);
            let one = zeros.eq(&x.scalar_like(1.0)).where_(&others, &zero);
            is_zero.where_(&one, &(none / safe))
        }
        ReduceOp::Max | ReduceOp::Min => {
            // NaN is the extreme, and equals nothing. The others are selected away: ∞ times 0 is NaN.
            let hit = x.eq(y).logical_or(&x.is_nan());
            let count = hit.cast(ct.dtype()?).sum_keepdim(&axes);
            hit.where_(&(ct / count), &ct.scalar_like(0.0))
        }
    })
}

/// `x̂`, `1 / √(variance + eps)` and the shape with length 1 along `axes`, for operands that begin with `(x, moments, eps)`.
fn normal(axes: &[usize], operands: &[Tensor]) -> Result<(Tensor, Tensor, Shape)> {
    let (x, moments, eps) = (&operands[0], &operands[1], &operands[2]);
    let narrow = without(x.shape()?, axes);
    let op = Op::Standardize { axes: axes.to_vec(), scaled: false, shifted: false };
    let normal = Tensor::build(op, &[x, moments, eps], x.shape()?, x.dtype()?);
    Ok((normal, (half(moments, 1, narrow) + eps).rsqrt(), narrow))
}

/// One pass for both sums, which are the gradients of bias and weight, too; one for the gradient of x.
fn standardize(axes: &[usize], [scaled, shifted]: [bool; 2], inputs: &[Tensor], out: &Tensor, ct: &Tensor) -> Result<Parts> {
    let (normal, _, narrow) = normal(axes, inputs)?;
    let normal = if scaled || shifted { normal } else { out.clone() };
    let sums = sums(axes, ct, &(ct * normal))?;
    let weight = inputs.get(3).filter(|_| scaled);
    let op = Op::StandardizeGrad { axes: axes.to_vec(), scaled };
    let operands: Vec<&Tensor> = [ct, &inputs[0], &inputs[1], &inputs[2], &sums].into_iter().chain(weight).collect();
    let mut parts = vec![Some(Tensor::build(op, &operands, ct.shape()?, ct.dtype()?)), None, None];
    parts.extend([(1, scaled), (0, shifted)].into_iter().filter(|(_, given)| *given).map(|(k, _)| Some(half(&sums, k, narrow))));
    Ok(parts)
}

/// With `s` and `t` the means of dy and of dy · x̂, `dx = weight · scale · (dy - s - x̂ · t)`. Through x̂ the gradient goes to x, through
/// scale to the variance.
fn standardize_grad(axes: &[usize], inputs: &[Tensor], ct: &Tensor) -> Result<Parts> {
    let (dy, sums_of) = (&inputs[0], &inputs[4]);
    let (x_hat, scale, narrow) = normal(axes, &inputs[1..])?;
    let share = narrow.numel() as f64 / dy.shape()?.numel() as f64;
    let (s, t) = (half(sums_of, 0, narrow) * share, half(sums_of, 1, narrow) * share);
    let factor = inputs.get(5).map_or_else(|| scale.clone(), |weight| weight * &scale);
    let centred = dy - s - &x_hat * &t;
    // Σ ct and Σ ct · x̂ go to the sums, Σ ct · centred to weight and scale.
    let to_sums = sums(axes, ct, &(ct * &x_hat))?;
    let signed: Vec<isize> = axes.iter().map(|&a| a as isize).collect();
    let along = (ct * centred).sum_keepdim(&signed);
    let columns = narrow.numel();
    let d_sums = to_sums * factor.reshape([1, columns]) * -share;
    // d scale / d variance is -scale³ / 2.
    let weighted = inputs.get(5).map_or_else(|| along.clone(), |weight| weight * &along);
    let d_variance = weighted * &scale * scale.square() * -0.5;
    let d_variance = d_variance.reshape([1, columns]);
    let d_moments = Tensor::cat(&[&d_variance.zeros_like(), &d_variance], 0);
    let to_normal = -(ct * (&factor * &t));
    let plain = standardize(axes, [false; 2], &inputs[1..4], &x_hat, &to_normal)?;
    let d_x = plain.into_iter().next().flatten();
    let mut parts = vec![Some(ct * factor), d_x, Some(d_moments), None, Some(d_sums)];
    parts.extend(inputs.get(5).map(|_| Some(along * scale)));
    Ok(parts)
}

fn convolution(op: &Op, inputs: &[Tensor], ct: &Tensor) -> Result<Parts> {
    let dtype = ct.dtype()?;
    let (a, b) = (&inputs[0], &inputs[1]);
    let forward = |spec, x: &Tensor, w: &Tensor, shape| Tensor::build(Op::Conv2d(spec), &[x, w], shape, dtype);
    let input_grad = |spec, dy: &Tensor, w: &Tensor, shape| Tensor::build(Op::Conv2dInputGrad(spec), &[dy, w], shape, dtype);
    let weight_grad = |spec, x: &Tensor, dy: &Tensor, shape| Tensor::build(Op::Conv2dWeightGrad(spec), &[x, dy], shape, dtype);
    let (sa, sb) = (a.shape()?, b.shape()?);
    let (da, db) = match *op {
        Op::Conv2d(spec) => (input_grad(spec, ct, b, sa), weight_grad(spec, a, ct, sb)),
        // (dy, w) -> dx: bilinear, so each part is another of the three products.
        Op::Conv2dInputGrad(spec) => (forward(spec, ct, b, sa), weight_grad(spec, ct, a, sb)),
        Op::Conv2dWeightGrad(spec) => (input_grad(spec, b, ct, sa), forward(spec, a, ct, sb)),
        _ => return Ok(vec![None, None]),
    };
    Ok(vec![Some(da), Some(db)])
}

fn pool(op: &Op, inputs: &[Tensor], ct: &Tensor) -> Result<Parts> {
    let Op::Pool(kind, spec) = *op else { return Ok(vec![None; inputs.len()]) };
    let dtype = ct.dtype()?;
    let x = &inputs[0];
    let node = |kind, operands: &[&Tensor], shape| Tensor::build(Op::Pool(kind, spec), operands, shape, dtype);
    Ok(match kind {
        PoolOp::Max => vec![Some(node(PoolOp::MaxScatter, &[x, ct], x.shape()?))],
        PoolOp::MaxScatter => vec![None, Some(node(PoolOp::MaxSelect, &[x, ct], inputs[1].shape()?))],
        PoolOp::MaxSelect => vec![None, Some(node(PoolOp::MaxScatter, &[x, ct], x.shape()?))],
        PoolOp::Avg => vec![Some(node(PoolOp::AvgScatter, &[ct], x.shape()?))],
        PoolOp::AvgScatter => vec![Some(node(PoolOp::Avg, &[ct], x.shape()?))],
    })
}

/// By its decomposition: `(softmax(logits) - one_hot) · g`.
fn cross_entropy_grad(inputs: &[Tensor], ct: &Tensor) -> Result<Parts> {
    let (logits, labels, g) = (&inputs[0], &inputs[1], &inputs[3]);
    let [rows, classes] = logits.dims::<2>()?;
    let class = Tensor::iota(classes, DType::I32, &logits.device()?)?.reshape([1, classes]);
    let one_hot = labels.reshape([rows, 1]).eq(&class).cast(ct.dtype()?);
    let p = logits.softmax(-1);
    let weighted = ct * g.reshape([rows, 1]);
    let d_logits = &p * (&weighted - (&weighted * &p).sum_keepdim(1));
    let d_g = (ct * (p - one_hot)).sum_dim(1);
    Ok(vec![Some(d_logits), None, None, Some(d_g)])
}
