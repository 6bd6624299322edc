//! Elementwise functions of one operand: the table. A row is what an op is; its WGSL is in `gpu/math.rs`, its gradient in
//! `autodiff/rules.rs`, its method in `tensor/elementwise.rs`.

#![allow(clippy::cast_possible_truncation, reason = "integers are computed in f64 and truncated, as `Tensor::cast` says")]

use super::saved::Kept;
use crate::dtype::DType;
use crate::math::{Number, Word, exact, fast, portable};

/// The operands that an op takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Floats only.
    Float,
    /// Every dtype with arithmetic.
    Number,
    /// Truth values.
    Truth,
}

/// Something that is done with an op's function: a loop over it, compiled for each function.
pub(crate) trait Visit<T> {
    type Output;
    fn visit<R: Word>(self, f: impl Fn(T) -> R) -> Self::Output;
}

/// Rows: `Name: operands, what the gradient rule reads, cost, function in f64, function in f32;`.
///
/// `is` before the functions marks those whose result is `Bool`. `ints` gives functions of i32 and u32; without them an integer
/// goes through the function in f64. The cost is in units of one arithmetic operation.
macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident: $takes:ident, $kept:expr, $cost:literal, $($is:ident)? ($exact:expr), ($fast:expr)
        $(, ints $i32:expr, $u32:expr)?;)*) => {
        /// Elementwise functions of one operand.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum UnaryOp {
            $($(#[$doc])* $name,)*
        }

        impl UnaryOp {
            /// Every op.
            #[cfg(test)]
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The operands that it takes.
            pub(crate) const fn takes(self) -> Takes {
                match self {
                    $(Self::$name => Takes::$takes,)*
                }
            }

            /// What its gradient rule reads besides the incoming gradient.
            pub(crate) const fn kept(self) -> &'static [Kept] {
                use Kept::{Input, Output};
                const NOTHING: &[Kept] = &[];
                const INPUT: &[Kept] = &[Input(0)];
                const OUTPUT: &[Kept] = &[Output];
                match self {
                    $(Self::$name => $kept,)*
                }
            }

            /// What computing it once more costs, in units of one arithmetic operation.
            pub(crate) const fn cost(self) -> u32 {
                match self {
                    $(Self::$name => $cost,)*
                }
            }

            /// The result's dtype for an operand's.
            pub(crate) const fn result(self, operand: DType) -> DType {
                match self {
                    $(Self::$name => unary!(@result operand $($is)?),)*
                }
            }

            /// `op(x)` in f64; truth values are 0 and 1.
            pub(crate) fn of_f64(self, x: f64) -> f64 {
                fn call<R: Number>(x: f64, f: impl Fn(f64) -> R) -> f64 {
                    f(x).number()
                }
                match self {
                    $(Self::$name => call(x, $exact),)*
                }
            }

            /// Visits the function in f32.
            #[inline(always)]
            pub(crate) fn of_f32<V: Visit<f32>>(self, visit: V) -> V::Output {
                match self {
                    $(Self::$name => visit.visit($fast),)*
                }
            }

            /// Visits the function of integers: arithmetic wraps, functions of reals truncate and saturate.
            #[inline(always)]
            pub(crate) fn of_i32<V: Visit<i32>>(self, visit: V) -> V::Output {
                match self {
                    $(Self::$name => unary!(@ints self, visit, i32 $(, $i32)?),)*
                }
            }

            /// As [`Self::of_i32`], on unsigned integers and truth values.
            #[inline(always)]
            pub(crate) fn of_u32<V: Visit<u32>>(self, visit: V) -> V::Output {
                match self {
                    $(Self::$name => unary!(@ints self, visit, u32 $(, $u32)?),)*
                }
            }
        }
    };
    (@result $operand:ident) => { $operand };
    (@result $operand:ident is) => { DType::Bool };
    (@ints $op:ident, $visit:ident, $type:ident, $f:expr) => { $visit.visit($f) };
    (@ints $op:ident, $visit:ident, $type:ident) => { $visit.visit(|x| $op.of_f64(f64::from(x)) as $type) };
}

unary! {
    /// `-x`
    Neg: Number, NOTHING, 1, (|x| -x), (|x| -x), ints i32::wrapping_neg, u32::wrapping_neg;
    /// `|x|`
    Abs: Number, INPUT, 1, (f64::abs), (f32::abs), ints i32::wrapping_abs, |x| x;
    /// -1, 0 or 1
    Sign: Number, NOTHING, 1, (exact::sign), (fast::sign), ints i32::signum, |x| x.min(1);
    /// `√x`
    Sqrt: Float, OUTPUT, 4, (f64::sqrt), (f32::sqrt);
    /// `1/√x`
    Rsqrt: Float, OUTPUT, 4, (|x| 1.0 / x.sqrt()), (|x| 1.0 / x.sqrt());
    /// `1/x`
    Reciprocal: Float, OUTPUT, 4, (|x| 1.0 / x), (|x| 1.0 / x);
    /// `x²`
    Square: Number, INPUT, 1, (|x| x * x), (|x| x * x), ints |x| x.wrapping_mul(x), |x| x.wrapping_mul(x);
    /// `eˣ`
    Exp: Float, OUTPUT, 4, (portable::exp), (fast::exp);
    /// `eˣ - 1`, accurate near 0
    Expm1: Float, OUTPUT, 4, (portable::expm1), (fast::expm1);
    /// natural logarithm
    Log: Float, INPUT, 4, (portable::log), (fast::log);
    /// `ln(1 + x)`, accurate near 0
    Log1p: Float, INPUT, 4, (portable::log1p), (fast::log1p);
    /// sine
    Sin: Float, INPUT, 4, (portable::sin), (portable::sinf);
    /// cosine
    Cos: Float, INPUT, 4, (portable::cos), (portable::cosf);
    /// tangent
    Tan: Float, OUTPUT, 4, (portable::tan), (portable::tanf);
    /// inverse sine
    Asin: Float, INPUT, 4, (portable::asin), (portable::asinf);
    /// inverse cosine
    Acos: Float, INPUT, 4, (portable::acos), (portable::acosf);
    /// inverse tangent
    Atan: Float, INPUT, 4, (portable::atan), (portable::atanf);
    /// hyperbolic sine
    Sinh: Float, INPUT, 4, (portable::sinh), (portable::sinhf);
    /// hyperbolic cosine
    Cosh: Float, INPUT, 4, (portable::cosh), (portable::coshf);
    /// hyperbolic tangent
    Tanh: Float, OUTPUT, 4, (portable::tanh), (fast::tanh);
    /// Gauss error function
    Erf: Float, INPUT, 4, (exact::erf), (fast::erf);
    /// largest integer not above x
    Floor: Float, NOTHING, 4, (f64::floor), (f32::floor);
    /// smallest integer not below x
    Ceil: Float, NOTHING, 4, (f64::ceil), (f32::ceil);
    /// nearest integer, ties to even
    Round: Float, NOTHING, 4, (f64::round_ties_even), (f32::round_ties_even);
    /// integer part
    Trunc: Float, NOTHING, 4, (f64::trunc), (f32::trunc);
    /// `1 / (1 + e⁻ˣ)`
    Sigmoid: Float, OUTPUT, 4, (exact::sigmoid), (fast::sigmoid);
    /// `max(x, 0)`
    Relu: Number, OUTPUT, 1, (exact::relu), (fast::relu), ints |x| x.max(0), |x| x;
    /// `ln(1 + eˣ)`
    Softplus: Float, INPUT, 4, (exact::softplus), (fast::softplus);
    /// 1 if x is 0, else 0; Bool to Bool
    Not: Truth, NOTHING, 1, is (|x| x == 0.0), (|x| x == 0.0), ints |x| x == 0, |x| x == 0;
    /// Bool: x is NaN
    IsNan: Float, NOTHING, 4, is (f64::is_nan), (f32::is_nan);
    /// Bool: x is neither infinite nor NaN
    IsFinite: Float, NOTHING, 4, is (f64::is_finite), (f32::is_finite);
}
