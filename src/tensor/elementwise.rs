//! Elementwise methods. Operands broadcast by NumPy's rule; dtypes must agree, but for F16, which is widened to F32. The second
//! operand may be a number.

use super::create::need_dtype;
use super::operators::Operand;
use super::{Fault, Tensor, need_float, need_number};
use crate::dtype::DType;
use crate::graph::Op;
use crate::graph::op::{BinaryOp, UnaryOp};
use crate::rng::Generator;
use crate::shape::Shape;
use std::panic::Location;

/// Which dtypes a unary op takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Float,
    Number,
    Bool,
}

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident: $op:ident, $takes:ident;)*) => {
        impl Tensor {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(&self) -> Self {
                self.unary(stringify!($name), UnaryOp::$op, Takes::$takes, Location::caller())
            }
        )*}
    };
}

unary! {
    /// `-x`. Integers wrap.
    neg: Neg, Number;
    /// `|x|`.
    abs: Abs, Number;
    /// -1, 0 or 1 by sign; 0 for NaN, as in PyTorch. The gradient is 0.
    sign: Sign, Number;
    /// `√x`; NaN below 0.
    sqrt: Sqrt, Float;
    /// `1/√x`.
    rsqrt: Rsqrt, Float;
    /// `1/x`.
    reciprocal: Reciprocal, Float;
    /// `x²`.
    square: Square, Number;
    /// `eˣ`.
    exp: Exp, Float;
    /// `eˣ - 1`, accurate near 0.
    expm1: Expm1, Float;
    /// The natural logarithm; NaN below 0, -∞ at 0.
    log: Log, Float;
    /// `ln(1 + x)`, accurate near 0.
    log1p: Log1p, Float;
    /// Sine of x radians.
    sin: Sin, Float;
    /// Cosine of x radians.
    cos: Cos, Float;
    /// Tangent of x radians.
    tan: Tan, Float;
    /// Inverse sine, in radians; NaN outside [-1, 1].
    asin: Asin, Float;
    /// Inverse cosine, in radians; NaN outside [-1, 1].
    acos: Acos, Float;
    /// Inverse tangent, in radians.
    atan: Atan, Float;
    /// Hyperbolic sine.
    sinh: Sinh, Float;
    /// Hyperbolic cosine.
    cosh: Cosh, Float;
    /// Hyperbolic tangent; exactly ±1 far from 0.
    tanh: Tanh, Float;
    /// The Gauss error function, `2/√π ∫₀ˣ e^(-t²) dt`.
    erf: Erf, Float;
    /// The largest integer not above x. The gradient is 0.
    floor: Floor, Float;
    /// The smallest integer not below x. The gradient is 0.
    ceil: Ceil, Float;
    /// The nearest integer, ties to even. The gradient is 0.
    round: Round, Float;
    /// The integer part. The gradient is 0.
    trunc: Trunc, Float;
    /// `1 / (1 + e⁻ˣ)`.
    sigmoid: Sigmoid, Float;
    /// `max(x, 0)`; the gradient at 0 is 0.
    relu: Relu, Number;
    /// `ln(1 + eˣ)`, stable for large x.
    softplus: Softplus, Float;
    /// Not x.
    logical_not: Not, Bool;
    /// Bool: x is NaN.
    is_nan: IsNan, Float;
    /// Bool: x is neither infinite nor NaN.
    is_finite: IsFinite, Float;
}

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident: $op:ident;)*) => {
        impl Tensor {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name<'t>(&self, other: impl Into<Operand<'t>>) -> Self {
                self.beside(stringify!($name), BinaryOp::$op, other.into(), Location::caller())
            }
        )*}
    };
}

binary! {
    /// `a + b`, broadcast.
    add: Add;
    /// `a - b`, broadcast.
    sub: Sub;
    /// `a · b`, broadcast.
    mul: Mul;
    /// `a / b`, broadcast; integers truncate, and divided by 0 give 0.
    div: Div;
    /// `a` to the power `b`, broadcast; a negative base needs a whole exponent. Special cases are C's: `x⁰` and `1ˣ` are 1 even
    /// for NaN.
    pow: Pow;
    /// `a - b·⌊a/b⌋`, broadcast: the result has the divisor's sign.
    rem: Rem;
    /// The angle of the point (x: `other`, y: `self`), in (-π, π].
    atan2: Atan2;
    /// The smaller of each pair; NaN if either is. Equal operands share the gradient.
    minimum: Minimum;
    /// The larger of each pair; NaN if either is. Equal operands share the gradient.
    maximum: Maximum;
    /// Bool: `a == b`.
    eq: Eq;
    /// Bool: `a != b`.
    ne: Ne;
    /// Bool: `a < b`.
    lt: Lt;
    /// Bool: `a <= b`.
    le: Le;
    /// Bool: `a > b`.
    gt: Gt;
    /// Bool: `a >= b`.
    ge: Ge;
    /// `a` and `b` (bitwise on integers).
    logical_and: And;
    /// `a` or `b` (bitwise on integers).
    logical_or: Or;
    /// `a` xor `b` (bitwise on integers).
    logical_xor: Xor;
}

impl Tensor {
    fn unary(&self, name: &'static str, op: UnaryOp, takes: Takes, at: super::At) -> Self {
        Self::guard(name, &[self], at, |n| {
            let dtype = n[0].dtype;
            match takes {
                Takes::Float => need_float(n[0])?,
                Takes::Number => need_number(n[0])?,
                Takes::Bool if dtype != DType::Bool => {
                    return Err(Fault::dtype(format!("{dtype} is not a truth value"), "compare it first, say with .ne(0)"));
                }
                _ => {}
            }
            let out = if matches!(op, UnaryOp::IsNan | UnaryOp::IsFinite) { DType::Bool } else { dtype };
            Ok(Self::build(Op::Unary(op), &[self], n[0].shape, out))
        })
    }

    pub(super) fn binary(&self, name: &'static str, op: BinaryOp, other: &Self, at: super::At) -> Self {
        Self::guard(name, &[self, other], at, |n| {
            let (a, b) = (n[0], n[1]);
            let shape = broadcast_shape(&a.shape, &b.shape)?;
            for bytes in n.iter().filter(|n| n.dtype == DType::U8) {
                need_number(bytes)?;
            }
            if a.dtype.arithmetic() != b.dtype.arithmetic() {
                let reason = format!("dtypes {} and {} differ", a.dtype, b.dtype);
                return Err(Fault::dtype(reason, format!("cast one: .cast(DType::{:?})", a.dtype.max(b.dtype))));
            }
            let logical = matches!(op, BinaryOp::And | BinaryOp::Or | BinaryOp::Xor);
            if logical && a.dtype.is_float() {
                return Err(Fault::dtype("logic needs bool or integers", "compare first, say with .gt(0)"));
            }
            if a.dtype == DType::Bool && !logical && !matches!(op, BinaryOp::Eq | BinaryOp::Ne) {
                need_number(a)?;
            }
            if matches!(op, BinaryOp::Atan2 | BinaryOp::Pow) {
                need_float(a)?;
            }
            let out = if op.is_comparison() { DType::Bool } else { a.dtype };
            Ok(Self::build(Op::Binary(op), &[&self.broadcast_to(shape), &other.broadcast_to(shape)], shape, out))
        })
    }

    /// With a tensor or a number. An integer cannot stand for a fraction, which would make a comparison wrong.
    fn beside(&self, name: &'static str, op: BinaryOp, other: Operand<'_>, at: super::At) -> Self {
        match other {
            Operand::Tensor(other) => self.binary(name, op, other, at),
            Operand::Number(value) if op.is_comparison() && value.fract() != 0.0 => Self::guard(name, &[self], at, |n| {
                if n[0].dtype.is_int() {
                    let reason = format!("{value} is no number of dtype {}", n[0].dtype);
                    return Err(Fault::attribute(reason, "compare with a whole number, or cast the tensor to f32 first"));
                }
                Ok(self.binary_scalar(name, op, value, false, at))
            }),
            Operand::Number(value) => self.binary_scalar(name, op, value, false, at),
        }
    }

    /// With a number, which takes this tensor's dtype.
    pub(super) fn binary_scalar(&self, name: &'static str, op: BinaryOp, value: f64, swapped: bool, at: super::At) -> Self {
        let scalar = self.scalar_like(value);
        if swapped { scalar.binary(name, op, self, at) } else { self.binary(name, op, &scalar, at) }
    }

    /// `xᵉ` for a number e.
    #[track_caller]
    pub fn powf(&self, exponent: f64) -> Self {
        self.binary_scalar("powf", BinaryOp::Pow, exponent, false, Location::caller())
    }

    /// `self ? a : b`, broadcast; self is Bool.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let x = Tensor::from_slice(&[-1.0f32, 2.0], [2], &Device::cpu()?)?;
    /// let y = x.gt(0).where_(&x, &(&x * 0.1));
    /// assert_eq!(y.to_vec::<f32>()?, [-0.1, 2.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn where_(&self, a: &Self, b: &Self) -> Self {
        Self::guard("where", &[self, a, b], Location::caller(), |n| {
            if n[0].dtype != DType::Bool {
                return Err(Fault::dtype(
                    format!("the condition is {}, not bool", n[0].dtype),
                    "compare it first, say with .ne(0)",
                ));
            }
            if n[1].dtype.arithmetic() != n[2].dtype.arithmetic() {
                let reason = format!("the branches' dtypes {} and {} differ", n[1].dtype, n[2].dtype);
                return Err(Fault::dtype(reason, "cast one"));
            }
            let shape = broadcast_shape(&broadcast_shape(&n[0].shape, &n[1].shape)?, &n[2].shape)?;
            let inputs = [self.broadcast_to(shape), a.broadcast_to(shape), b.broadcast_to(shape)];
            Ok(Self::build(Op::Where, &[&inputs[0], &inputs[1], &inputs[2]], shape, n[1].dtype))
        })
    }

    /// `min(max(x, low), high)`; the gradient is 1 within the bounds (ends included) and 0 outside.
    #[track_caller]
    pub fn clamp(&self, low: f64, high: f64) -> Self {
        let at = Location::caller();
        Self::guard("clamp", &[self], at, |_| {
            // NaN bounds fail too.
            if low.partial_cmp(&high).is_none_or(std::cmp::Ordering::is_gt) {
                return Err(Fault::attribute(
                    format!("the bounds {low} and {high} are not in order"),
                    "give the lower bound first",
                ));
            }
            let (lo, hi) = (self.scalar_like(low), self.scalar_like(high));
            let too_low = self.binary("clamp", BinaryOp::Lt, &lo, at);
            let too_high = self.binary("clamp", BinaryOp::Gt, &hi, at);
            Ok(too_low.where_(&lo, &too_high.where_(&hi, self)))
        })
    }

    /// The same numbers in another dtype: floats to integers truncate towards 0 and saturate (NaN gives 0); to Bool is
    /// `x ≠ 0`. Gradients flow between floating-point dtypes.
    #[track_caller]
    pub fn cast(&self, dtype: DType) -> Self {
        Self::guard("cast", &[self], Location::caller(), |n| {
            if n[0].dtype == dtype {
                return Ok(self.clone());
            }
            match need_dtype(dtype, &n[0].device) {
                Ok(()) => Ok(Self::build(Op::Cast, &[self], n[0].shape, dtype)),
                Err(e) => Err(Fault::dtype(e.to_string(), "use f32, or the CPU device")),
            }
        })
    }

    /// Zeros of this tensor's shape, dtype and device.
    pub fn zeros_like(&self) -> Self {
        self.full_like(0.0)
    }

    /// Ones of this tensor's shape, dtype and device.
    pub fn ones_like(&self) -> Self {
        self.full_like(1.0)
    }

    /// `value` in this tensor's shape, dtype and device.
    pub fn full_like(&self, value: f64) -> Self {
        match self.shape() {
            Ok(shape) => match self.dtype() {
                Ok(dtype) => self.scalar_like(value).cast(dtype).broadcast_to(shape),
                Err(error) => Self::from_error(error),
            },
            Err(error) => Self::from_error(error),
        }
    }

    /// Keeps each element with probability `1 - p` and scales it by `1 / (1 - p)`; else 0. The mask is a pure function of
    /// the generator's draw and is computed again in backward rather than stored. Source: Srivastava et al., JMLR 2014.
    #[track_caller]
    pub fn dropout(&self, p: f64, generator: &Generator) -> Self {
        Self::guard("dropout", &[self], Location::caller(), |n| {
            if !(0.0..=1.0).contains(&p) {
                return Err(Fault::attribute(format!("p = {p} is not a probability"), "use 0 <= p <= 1"));
            }
            need_float(n[0])?;
            let bits = match Self::random_bits(n[0].shape, generator, &n[0].device) {
                Ok(bits) => bits,
                Err(error) => return Ok(Self::from_error(error)),
            };
            if p >= 1.0 {
                return Ok(self.zeros_like());
            }
            // Integer comparison: bit-equal on every device. p = 0 drops nothing.
            let threshold = (p * 4_294_967_296.0).floor();
            let keep = bits.ge(&bits.scalar_like(threshold));
            Ok(keep.where_(&(self * (1.0 / (1.0 - p))), &self.scalar_like(0.0)))
        })
    }

    /// Stretches to `shape`, which the tensor's shape must broadcast to.
    pub(crate) fn broadcast_to(&self, shape: Shape) -> Self {
        let Ok(node) = self.node() else { return self.clone() };
        if node.shape == shape {
            return self.clone();
        }
        let mut aligned = vec![1; shape.rank() - node.shape.rank()];
        aligned.extend(node.shape.iter());
        let aligned = Shape::of(&aligned);
        let same_rank = if aligned == node.shape { self.clone() } else { Self::build(Op::Reshape, &[self], aligned, node.dtype) };
        if aligned == shape { same_rank } else { Self::build(Op::Expand, &[&same_rank], shape, node.dtype) }
    }
}

fn broadcast_shape(a: &Shape, b: &Shape) -> Result<Shape, Fault> {
    let shape = a.broadcast(b).ok_or_else(|| {
        Fault::shape(
            format!("shapes {a} and {b} do not broadcast"),
            "sizes must agree or be 1, aligned at the last axis; reshape or unsqueeze one operand",
        )
    })?;
    Shape::new(&shape).map_err(|_| {
        let help = "the broadcast result must fit in memory";
        Fault::new(
            crate::error::OpErrorKind::TooLarge,
            format!("shapes {a} and {b} broadcast to {shape}, which is too large"),
            help,
        )
    })
}
