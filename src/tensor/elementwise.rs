//! Elementwise methods. Operands broadcast by NumPy's rule; dtypes must agree, except for F16, which is widened to F32. The
//! second operand may be a number.

use super::create::need_dtype;
use super::operators::Operand;
use super::{Fault, Tensor, need_float, need_number, need_possible};
use crate::dtype::DType;
use crate::graph::Op;
use crate::graph::binary::{BinaryOp, Pairs};
use crate::graph::unary::{Takes, UnaryOp};
use crate::rng::Generator;
use crate::shape::Shape;
use std::panic::Location;

/// The rows of [`Tensor`]'s table for the methods of this file, to which an op adds its name.
macro_rules! subjects {
    () => {
        concat!(
            subject!("powers, exponentials, logarithms": square sqrt rsqrt reciprocal pow powf exp expm1 log log1p),
            "\n",
            subject!("trigonometry and special functions": sin cos tan asin acos atan atan2 sinh cosh tanh erf),
            "\n",
            subject!(
                "arithmetic and rounding":
                add sub mul div rem neg abs sign floor ceil round trunc minimum maximum clamp lerp
            ),
            "\n",
            subject!(
                "comparison, truth values, choice":
                eq ne lt le gt ge is_nan is_finite logical_not logical_and logical_or logical_xor where_
            ),
        )
    };
}
pub(super) use subjects;

/// The doctest of an op whose operands are three numbers each: results are written as they are, or, after `about`, as text with
/// four decimals.
macro_rules! example {
    ($name:ident($x:tt) => $($result:tt)+) => {
        concat!(
            "\n```\n# use wgrad::{Device, Tensor};\n# fn main() -> wgrad::Result<()> {\n",
            "let x = Tensor::from_slice(&", stringify!($x), ", [3], &Device::cpu()?)?;\n",
            example!(@check concat!("x.", stringify!($name), "()"), $($result)+),
            "# Ok(()) }\n```"
        )
    };
    ($name:ident($a:tt, $b:tt) => $($result:tt)+) => {
        concat!(
            "\n```\n# use wgrad::{Device, Tensor};\n# fn main() -> wgrad::Result<()> {\n# let device = Device::cpu()?;\n",
            "let a = Tensor::from_slice(&", stringify!($a), ", [3], &device)?;\n",
            "let b = Tensor::from_slice(&", stringify!($b), ", [3], &device)?;\n",
            example!(@check concat!("a.", stringify!($name), "(&b)"), $($result)+),
            "# Ok(()) }\n```"
        )
    };
    (@check $call:expr, about $text:literal) => {
        concat!("assert_eq!(format!(\"{:.4?}\", ", $call, ".to_vec::<f32>()?), \"", $text, "\");\n")
    };
    (@check $call:expr, $dtype:ident $values:tt) => {
        concat!("assert_eq!(", $call, ".to_vec::<", stringify!($dtype), ">()?, ", stringify!($values), ");\n")
    };
}

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident: $op:ident, $x:tt => $kind:ident $result:tt;)*) => {
        /// # Functions of each element
        impl Tensor {$(
            $(#[$doc])*
            #[doc = example!($name($x) => $kind $result)]
            #[track_caller]
            pub fn $name(&self) -> Self {
                self.unary(stringify!($name), UnaryOp::$op, Location::caller())
            }
        )*}
    };
}

unary! {
    /// `-x`. Integers wrap.
    neg: Neg, [1, -2, i32::MIN] => i32 [-1, 2, i32::MIN];
    /// `|x|`. The gradient is `sign(x)`.
    abs: Abs, [-1.5f32, 0.0, 2.0] => f32 [1.5, 0.0, 2.0];
    /// `x / |x|`, that is -1 or 1, and 0 for 0 and (as in PyTorch) for NaN. The gradient is 0.
    sign: Sign, [-3.0f32, 0.0, f32::NAN] => f32 [-1.0, 0.0, 0.0];
    /// `√x`; NaN below 0.
    sqrt: Sqrt, [2.25f32, 2.0, -1.0] => about "[1.5000, 1.4142, NaN]";
    /// `1/√x`; ∞ at 0, NaN below.
    rsqrt: Rsqrt, [4.0f32, 0.25, 0.0] => about "[0.5000, 2.0000, inf]";
    /// `1/x`; ±∞ at ±0.
    reciprocal: Reciprocal, [-0.5f32, 4.0, 0.0] => f32 [-2.0, 0.25, f32::INFINITY];
    /// `x²`.
    square: Square, [-3, 0, 4] => i32 [9, 0, 16];
    /// `eˣ`.
    exp: Exp, [0.0f32, 1.0, f32::NEG_INFINITY] => about "[1.0000, 2.7183, 0.0000]";
    /// `eˣ - 1`, accurate near 0, where `x.exp() - 1.0` loses all digits.
    expm1: Expm1, [0.0f32, 1e-8, f32::NEG_INFINITY] => f32 [0.0, 1e-8, -1.0];
    /// The natural logarithm, `ln x`; -∞ at 0, NaN below.
    log: Log, [7.389056f32, 0.0, -1.0] => about "[2.0000, -inf, NaN]";
    /// `ln(1 + x)`, accurate near 0.
    log1p: Log1p, [0.0f32, 1e-8, -1.0] => f32 [0.0, 1e-8, f32::NEG_INFINITY];
    /// `sin x`, of radians: below at 0, π/6 and π/2.
    sin: Sin, [0.0f32, 0.5235988, 1.5707964] => about "[0.0000, 0.5000, 1.0000]";
    /// `cos x`, of radians: below at 0, π/3 and π.
    cos: Cos, [0.0f32, 1.0471976, 3.1415927] => about "[1.0000, 0.5000, -1.0000]";
    /// `tan x = sin x / cos x`, of radians: below at 0, π/4 and -π/4.
    tan: Tan, [0.0f32, 0.7853982, -0.7853982] => about "[0.0000, 1.0000, -1.0000]";
    /// `sin⁻¹ x`, the inverse sine in radians, in [-π/2, π/2]; NaN outside [-1, 1].
    asin: Asin, [0.5f32, 1.0, 2.0] => about "[0.5236, 1.5708, NaN]";
    /// `cos⁻¹ x`, the inverse cosine in radians, in [0, π]; NaN outside [-1, 1].
    acos: Acos, [0.5f32, 0.0, -1.0] => about "[1.0472, 1.5708, 3.1416]";
    /// `tan⁻¹ x`, the inverse tangent in radians, in [-π/2, π/2].
    atan: Atan, [1.0f32, -1.0, f32::INFINITY] => about "[0.7854, -0.7854, 1.5708]";
    /// `(eˣ - e⁻ˣ) / 2`, the hyperbolic sine.
    sinh: Sinh, [0.0f32, 1.0, -1.0] => about "[0.0000, 1.1752, -1.1752]";
    /// `(eˣ + e⁻ˣ) / 2`, the hyperbolic cosine.
    cosh: Cosh, [0.0f32, 1.0, -1.0] => about "[1.0000, 1.5431, 1.5431]";
    /// `(eˣ - e⁻ˣ) / (eˣ + e⁻ˣ)`, the hyperbolic tangent; exactly ±1 far from 0.
    tanh: Tanh, [0.5f32, -0.5, 100.0] => about "[0.4621, -0.4621, 1.0000]";
    /// The Gauss error function, `2/√π ∫₀ˣ e^(-t²) dt`.
    erf: Erf, [0.0f32, 1.0, -1.0] => about "[0.0000, 0.8427, -0.8427]";
    /// `⌊x⌋`, the largest integer not above x. The gradient is 0.
    floor: Floor, [-1.5f32, 0.5, 2.0] => f32 [-2.0, 0.0, 2.0];
    /// `⌈x⌉`, the smallest integer not below x. The gradient is 0.
    ceil: Ceil, [-1.5f32, 0.5, 2.0] => f32 [-1.0, 1.0, 2.0];
    /// The nearest integer, ties to even. The gradient is 0.
    round: Round, [0.5f32, 1.5, 2.5] => f32 [0.0, 2.0, 2.0];
    /// The integer part: rounds towards 0. The gradient is 0.
    trunc: Trunc, [-1.5f32, 1.5, 0.9] => f32 [-1.0, 1.0, 0.0];
    /// `1 / (1 + e⁻ˣ)`.
    sigmoid: Sigmoid, [0.0f32, 2.0, -200.0] => about "[0.5000, 0.8808, 0.0000]";
    /// `max(x, 0)`; the gradient at 0 is 0.
    relu: Relu, [-2.0f32, 0.0, 3.0] => f32 [0.0, 0.0, 3.0];
    /// `ln(1 + eˣ)`, stable for large x. [`Tensor::softplus_with`] has PyTorch's options.
    softplus: Softplus, [0.0f32, -200.0, 200.0] => about "[0.6931, 0.0000, 200.0000]";
    /// `¬x`, of truth values.
    logical_not: Not, [true, false, true] => bool [false, true, false];
    /// Bool: x is NaN.
    is_nan: IsNan, [1.0f32, f32::INFINITY, f32::NAN] => bool [false, false, true];
    /// Bool: x is neither infinite nor NaN.
    is_finite: IsFinite, [1.0f32, f32::INFINITY, f32::NAN] => bool [true, false, false];
}

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident: $op:ident, $a:tt, $b:tt => $kind:ident $result:tt;)*) => {
        /// # Functions of pairs of elements, comparisons
        impl Tensor {$(
            $(#[$doc])*
            #[doc = example!($name($a, $b) => $kind $result)]
            #[track_caller]
            pub fn $name<'t>(&self, other: impl Into<Operand<'t>>) -> Self {
                self.beside(stringify!($name), BinaryOp::$op, other.into(), Location::caller())
            }
        )*}
    };
}

binary! {
    /// `a + b`, broadcast: sizes must agree or be 1, aligned at the last axis. The operator `+` does the same, and takes numbers,
    /// too.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let column = Tensor::from_slice(&[10.0f32, 20.0], [2, 1], &device)?;
    /// let row = Tensor::from_slice(&[1.0f32, 2.0], [2], &device)?;
    /// assert_eq!((column + row).to_vec::<f32>()?, [11.0, 12.0, 21.0, 22.0]);
    /// # Ok(()) }
    /// ```
    add: Add, [1.0f32, 2.0, 3.0], [0.5f32, 0.5, -3.0] => f32 [1.5, 2.5, 0.0];
    /// `a - b`, broadcast. Integers wrap.
    sub: Sub, [5u32, 3, 0], [2u32, 3, 1] => u32 [3, 0, u32::MAX];
    /// `a · b`, broadcast.
    mul: Mul, [2.0f32, -3.0, 0.5], [4.0f32, 5.0, 0.5] => f32 [8.0, -15.0, 0.25];
    /// `a / b`, broadcast; integers truncate, and divided by 0 give 0.
    div: Div, [7, -7, 7], [2, 2, 0] => i32 [3, -3, 0];
    /// `aᵇ`, broadcast; a negative base needs a whole exponent. Special cases are C's: `x⁰` and `1ˣ` are 1 even for NaN.
    pow: Pow, [2.0f32, -2.0, f32::NAN], [0.5f32, 3.0, 0.0] => about "[1.4142, -8.0000, 1.0000]";
    /// `a - b·⌊a/b⌋`, broadcast: the result has the divisor's sign.
    rem: Rem, [7.0f32, -7.0, 7.0], [3.0f32, 3.0, -3.0] => f32 [1.0, 2.0, -2.0];
    /// The angle of the point (x: `other`, y: `self`), in (-π, π]: `tan⁻¹(y/x)` in the right quadrant.
    atan2: Atan2, [1.0f32, 0.0, -1.0], [1.0f32, -1.0, -1.0] => about "[0.7854, 3.1416, -2.3562]";
    /// `min(a, b)`, broadcast; NaN if either is. Equal operands share the gradient.
    minimum: Minimum, [1.0f32, 5.0, f32::NAN], [2.0f32, 3.0, 0.0] => about "[1.0000, 3.0000, NaN]";
    /// `max(a, b)`, broadcast; NaN if either is. Equal operands share the gradient.
    maximum: Maximum, [1.0f32, 5.0, f32::NAN], [2.0f32, 3.0, 0.0] => about "[2.0000, 5.0000, NaN]";
    /// Bool: `a = b`, broadcast. NaN equals nothing.
    eq: Eq, [1.0f32, 2.0, f32::NAN], [1.0f32, 3.0, f32::NAN] => bool [true, false, false];
    /// Bool: `a ≠ b`, broadcast. NaN differs from itself.
    ne: Ne, [1.0f32, 2.0, f32::NAN], [1.0f32, 3.0, f32::NAN] => bool [false, true, true];
    /// Bool: `a < b`, broadcast.
    lt: Lt, [1, 2, 3], [2, 2, 2] => bool [true, false, false];
    /// Bool: `a ≤ b`, broadcast.
    le: Le, [1, 2, 3], [2, 2, 2] => bool [true, true, false];
    /// Bool: `a > b`, broadcast.
    gt: Gt, [1, 2, 3], [2, 2, 2] => bool [false, false, true];
    /// Bool: `a ≥ b`, broadcast.
    ge: Ge, [1, 2, 3], [2, 2, 2] => bool [false, true, true];
    /// `a ∧ b`, broadcast; bitwise on integers.
    logical_and: And, [true, true, false], [true, false, false] => bool [true, false, false];
    /// `a ∨ b`, broadcast; bitwise on integers.
    logical_or: Or, [6, 1, 0], [3, 1, 8] => i32 [7, 1, 8];
    /// `a ⊕ b`, broadcast: one of the two, not both; bitwise on integers.
    logical_xor: Xor, [true, true, false], [true, false, false] => bool [false, true, false];
}

/// # Choice, casts, tensors like another
impl Tensor {
    fn unary(&self, name: &'static str, op: UnaryOp, at: super::At) -> Self {
        Self::guard(name, &[self], at, |n| {
            let dtype = n[0].dtype;
            match op.takes() {
                Takes::Float => need_float(n[0])?,
                Takes::Number => need_number(n[0])?,
                Takes::Truth if dtype != DType::Bool => {
                    return Err(Fault::dtype(format!("{dtype} is not a truth value"), "compare it first, say with .ne(0)"));
                }
                Takes::Truth => {}
            }
            Ok(Self::build(Op::Unary(op), &[self], n[0].shape, op.result(dtype)))
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
                let help = match (a.dtype, b.dtype) {
                    (DType::F32, DType::F64) | (DType::F64, DType::F32) => {
                        "cast one: .cast(DType::F32); literals are f32 as 1.0f32".into()
                    }
                    _ => format!("cast one: .cast(DType::{:?})", a.dtype.max(b.dtype)),
                };
                return Err(Fault::dtype(reason, help));
            }
            match op.pairs() {
                Pairs::Logic if a.dtype.is_float() => {
                    return Err(Fault::dtype("logic needs bool or integers", "compare first, say with .gt(0)"));
                }
                Pairs::Float => {
                    need_number(a)?;
                    need_float(a)?;
                }
                Pairs::Number | Pairs::Order => need_number(a)?,
                Pairs::Logic | Pairs::Equality => {}
            }
            let out = if op.is_comparison() { DType::Bool } else { a.dtype };
            Ok(Self::build(Op::Binary(op), &[&self.broadcast_to(shape), &other.broadcast_to(shape)], shape, out))
        })
    }

    /// With a tensor or a number.
    fn beside(&self, name: &'static str, op: BinaryOp, other: Operand<'_>, at: super::At) -> Self {
        match other {
            Operand::Tensor(other) => self.binary(name, op, other, at),
            Operand::Number(value) => self.binary_scalar(name, op, value, false, at),
        }
    }

    /// With a number, which takes this tensor's dtype and must be representable in it: an integer cannot stand for a fraction.
    pub(super) fn binary_scalar(&self, name: &'static str, op: BinaryOp, value: f64, swapped: bool, at: super::At) -> Self {
        Self::guard(name, &[self], at, |n| {
            let dtype = n[0].dtype;
            // Ops that take only floats report that themselves.
            if dtype != DType::U8 && op.pairs() != Pairs::Float && !dtype.holds(value) {
                let reason = format!("{value} is not a number of dtype {dtype}");
                let help = if value.fract() == 0.0 {
                    format!("use a number that {dtype} has, or cast the tensor to f32 first")
                } else {
                    "use a whole number, or cast the tensor to f32 first".into()
                };
                return Err(Fault::attribute(reason, help));
            }
            let scalar = self.scalar_like(value);
            Ok(if swapped { scalar.binary(name, op, self, at) } else { self.binary(name, op, &scalar, at) })
        })
    }

    /// `xᵉ` for a number e: [`Tensor::pow`] with one exponent for all.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[4.0f32, 2.0], [2], &device)?;
    /// assert_eq!(format!("{:.4?}", x.powf(-0.5).to_vec::<f32>()?), "[0.5000, 0.7071]");
    /// # Ok(()) }
    /// ```
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

    /// `min(max(x, low), high)`; the gradient is 1 within the bounds (ends included) and 0 outside. The bounds must be in
    /// order.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[-3.0f32, 0.5, f32::INFINITY], [3], &device)?;
    /// assert_eq!(x.clamp(-1.0, 2.0).to_vec::<f32>()?, [-1.0, 0.5, 2.0]);
    /// # Ok(()) }
    /// ```
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
    ///
    /// ```
    /// # use wgrad::{DType, Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.9f32, -1.9, 1e10, f32::NAN], [4], &device)?;
    /// assert_eq!(x.cast(DType::I32).to_vec::<i32>()?, [1, -1, i32::MAX, 0]);
    /// # Ok(()) }
    /// ```
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
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[7, 8], [2], &device)?;
    /// assert_eq!(x.zeros_like().to_vec::<i32>()?, [0, 0]);
    /// # Ok(()) }
    /// ```
    pub fn zeros_like(&self) -> Self {
        self.full_like(0.0)
    }

    /// Ones of this tensor's shape, dtype and device.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[true, false], [2], &device)?;
    /// assert_eq!(x.ones_like().to_vec::<bool>()?, [true, true]);
    /// # Ok(()) }
    /// ```
    pub fn ones_like(&self) -> Self {
        self.full_like(1.0)
    }

    /// `value` in this tensor's shape, dtype and device.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::zeros([2, 1], &device)?.full_like(0.5);
    /// assert_eq!((x.shape()?.to_vec(), x.to_vec::<f32>()?), (vec![2, 1], vec![0.5, 0.5]));
    /// # Ok(()) }
    /// ```
    pub fn full_like(&self, value: f64) -> Self {
        match self.shape() {
            Ok(shape) => match self.dtype() {
                Ok(dtype) => self.scalar_like(value).cast(dtype).broadcast_to(shape),
                Err(error) => Self::from_error(error),
            },
            Err(error) => Self::from_error(error),
        }
    }

    /// Keeps each element with probability `1 - p` (p in 0..=1) and scales it by `1 / (1 - p)`; else 0. The mask is a pure
    /// function of the generator's draw and is computed again in backward rather than stored. Source: Srivastava et al., JMLR
    /// 2014.
    ///
    /// ```
    /// # use wgrad::{Device, Generator, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::ones([1000], &device)?;
    /// let y = x.dropout(0.5, &Generator::new(1)).to_vec::<f32>()?;
    /// assert!(y.iter().all(|&v| v == 0.0 || v == 2.0));
    /// assert!((400..600).contains(&y.iter().filter(|&&v| v == 0.0).count()));
    /// # Ok(()) }
    /// ```
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
                // Never true; x stays an operand, so that its gradient is 0 rather than missing.
                return Ok(bits.lt(&bits.scalar_like(0.0)).where_(self, &self.scalar_like(0.0)));
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
    let shape = a.stretched(b).ok_or_else(|| {
        Fault::shape(
            format!("shapes {a} and {b} do not broadcast"),
            "sizes must agree or be 1, aligned at the last axis; reshape or unsqueeze one operand",
        )
    })?;
    need_possible(&shape)
}
