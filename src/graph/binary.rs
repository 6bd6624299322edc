//! Elementwise functions of two operands: the table. A row is what an op is; its WGSL is in `gpu/math.rs`, its gradient in
//! `autodiff/rules.rs`, its method in `tensor/elementwise.rs`.

#![allow(clippy::cast_possible_truncation, reason = "integers are computed in f64 and truncated, as `Tensor::cast` says")]

use super::saved::Kept;
use crate::math::{Number, Word, exact, fast, portable};

/// The operands that an op takes, both of one dtype, and what it makes of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pairs {
    /// Every dtype with arithmetic.
    Number,
    /// Floats only.
    Float,
    /// Truth values and integers.
    Logic,
    /// Every dtype with arithmetic; the result is `Bool`.
    Order,
    /// Every dtype; the result is `Bool`.
    Equality,
}

/// Something that is done with an op's function: a loop over it, compiled for each function.
pub(crate) trait VisitPairs<T> {
    type Output;
    fn visit<R: Word>(self, f: impl Fn(T, T) -> R) -> Self::Output;
}

/// Rows: `Name: operands, what the gradient rule reads, functions in f64, f32, i32 and u32;`.
macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident: $pairs:ident, $kept:expr, $exact:expr, $fast:expr, $i32:expr, $u32:expr;)*) => {
        /// Elementwise functions of two operands of the same shape and dtype.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum BinaryOp {
            $($(#[$doc])* $name,)*
        }

        impl BinaryOp {
            /// Every op.
            #[cfg(test)]
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The operands that it takes.
            pub(crate) const fn pairs(self) -> Pairs {
                match self {
                    $(Self::$name => Pairs::$pairs,)*
                }
            }

            /// What its gradient rule reads besides the incoming gradient.
            pub(crate) const fn kept(self) -> &'static [Kept] {
                use Kept::{Factor, Input, Output};
                const NOTHING: &[Kept] = &[];
                const INPUTS: &[Kept] = &[Input(0), Input(1)];
                const FACTORS: &[Kept] = &[Factor(0), Factor(1)];
                match self {
                    $(Self::$name => $kept,)*
                }
            }

            /// `a op b` in f64; truth values are 0 and 1.
            pub(crate) fn of_f64(self, a: f64, b: f64) -> f64 {
                fn call<R: Number>(a: f64, b: f64, f: impl Fn(f64, f64) -> R) -> f64 {
                    f(a, b).number()
                }
                match self {
                    $(Self::$name => call(a, b, $exact),)*
                }
            }

            /// Visits the function in f32.
            #[inline(always)]
            pub(crate) fn of_f32<V: VisitPairs<f32>>(self, visit: V) -> V::Output {
                match self {
                    $(Self::$name => visit.visit($fast),)*
                }
            }

            /// Visits the function of integers: it wraps, and a quotient or remainder by zero is 0.
            #[inline(always)]
            pub(crate) fn of_i32<V: VisitPairs<i32>>(self, visit: V) -> V::Output {
                match self {
                    $(Self::$name => visit.visit($i32),)*
                }
            }

            /// As [`Self::of_i32`], on unsigned integers and truth values.
            #[inline(always)]
            pub(crate) fn of_u32<V: VisitPairs<u32>>(self, visit: V) -> V::Output {
                match self {
                    $(Self::$name => visit.visit($u32),)*
                }
            }
        }
    };
}

binary! {
    /// `a + b`
    Add: Number, NOTHING, |a, b| a + b, |a, b| a + b, i32::wrapping_add, u32::wrapping_add;
    /// `a - b`
    Sub: Number, NOTHING, |a, b| a - b, |a, b| a - b, i32::wrapping_sub, u32::wrapping_sub;
    /// `a * b`
    Mul: Number, FACTORS, |a, b| a * b, |a, b| a * b, i32::wrapping_mul, u32::wrapping_mul;
    /// `a / b`
    Div: Number, &[Output, Input(1)], |a, b| a / b, |a, b| a / b, exact::div_i32, |a, b| a.checked_div(b).unwrap_or(0);
    /// `a` to the power `b`
    Pow: Float, &[Output, Input(0), Input(1)], portable::pow, fast::pow, exact::pow_i32, |a, b| a.wrapping_pow(b);
    /// `a - b·floor(a/b)`: the result has the divisor's sign, as in Python
    Rem: Number, INPUTS, exact::rem, fast::rem, exact::rem_i32, |a, b| a.checked_rem(b).unwrap_or(0);
    /// angle of the point (b, a)
    Atan2: Float, INPUTS, portable::atan2, fast::atan2, |a, b| portable::atan2(f64::from(a), f64::from(b)) as i32,
        |a, b| portable::atan2(f64::from(a), f64::from(b)) as u32;
    /// the smaller; NaN if either is
    Minimum: Number, INPUTS, exact::minimum, fast::minimum, |a, b| a.min(b), |a, b| a.min(b);
    /// the larger; NaN if either is
    Maximum: Number, INPUTS, exact::maximum, fast::maximum, |a, b| a.max(b), |a, b| a.max(b);
    /// Bool: `a == b`
    Eq: Equality, NOTHING, |a, b| a == b, |a, b| a == b, |a, b| a == b, |a, b| a == b;
    /// Bool: `a != b`
    Ne: Equality, NOTHING, |a, b| a != b, |a, b| a != b, |a, b| a != b, |a, b| a != b;
    /// Bool: `a < b`
    Lt: Order, NOTHING, |a, b| a < b, |a, b| a < b, |a, b| a < b, |a, b| a < b;
    /// Bool: `a <= b`
    Le: Order, NOTHING, |a, b| a <= b, |a, b| a <= b, |a, b| a <= b, |a, b| a <= b;
    /// Bool: `a > b`
    Gt: Order, NOTHING, |a, b| a > b, |a, b| a > b, |a, b| a > b, |a, b| a > b;
    /// Bool: `a >= b`
    Ge: Order, NOTHING, |a, b| a >= b, |a, b| a >= b, |a, b| a >= b, |a, b| a >= b;
    /// Bool and Bool; bitwise on integers
    And: Logic, NOTHING, |a, b| a != 0.0 && b != 0.0, |a, b| fast::truth(a != 0.0 && b != 0.0), |a, b| a & b, |a, b| a & b;
    /// Bool or Bool; bitwise on integers
    Or: Logic, NOTHING, |a, b| a != 0.0 || b != 0.0, |a, b| fast::truth(a != 0.0 || b != 0.0), |a, b| a | b, |a, b| a | b;
    /// Bool xor Bool; bitwise on integers
    Xor: Logic, NOTHING, |a, b| (a != 0.0) != (b != 0.0), |a, b| fast::truth((a != 0.0) != (b != 0.0)), |a, b| a ^ b, |a, b| a ^ b;
}

impl BinaryOp {
    /// Whether the result is `Bool` whatever the operands are.
    pub const fn is_comparison(self) -> bool {
        matches!(self.pairs(), Pairs::Order | Pairs::Equality)
    }
}
