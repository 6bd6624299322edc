//! `+ - * / %`, unary `-` and `+= -= *= /= %=`, on references and values, with tensors and numbers; sums and products of iterators.

#![allow(
    clippy::cast_lossless,
    clippy::cast_precision_loss,
    reason = "numbers of any type stand for f64s, the nearest where none is equal"
)]

use super::{At, Tensor};
use crate::error::Error;
use crate::graph::op::BinaryOp;
use std::iter::{Product, Sum};
use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Rem, RemAssign, Sub, SubAssign};
use std::panic::Location;

/// What a method like [`Tensor::gt`] or [`Tensor::maximum`] combines a tensor with: another tensor, or a number, which takes the
/// tensor's dtype.
///
/// ```
/// # use wgrad::{Device, Tensor};
/// # fn main() -> wgrad::Result<()> {
/// let x = Tensor::from_slice(&[-1.0f32, 2.0], [2], &Device::cpu()?)?;
/// assert_eq!(x.gt(0).to_vec::<bool>()?, [false, true]);
/// assert_eq!(x.maximum(0.5).to_vec::<f32>()?, [0.5, 2.0]);
/// assert_eq!(x.maximum(&x.abs()).to_vec::<f32>()?, [1.0, 2.0]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy)]
pub enum Operand<'t> {
    /// A tensor; shapes broadcast.
    Tensor(&'t Tensor),
    /// The same number beside every element.
    Number(f64),
}

impl<'t> From<&'t Tensor> for Operand<'t> {
    fn from(tensor: &'t Tensor) -> Self {
        Self::Tensor(tensor)
    }
}

/// Runs a macro once per type of numbers that can be combined with tensors.
macro_rules! for_numbers {
    ($run:ident) => {
        $run!(f32 f64 i8 i16 i32 i64 isize u8 u16 u32 u64 usize);
    };
}

macro_rules! from_numbers {
    ($($number:ty)*) => {$(
        impl From<$number> for Operand<'_> {
            fn from(number: $number) -> Self {
                Self::Number(number as f64)
            }
        }
    )*};
}
for_numbers!(from_numbers);

/// What may be to the right of an operator: a tensor, owned or borrowed, a parameter, or a number of any type, which takes the
/// left side's dtype.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be combined with a tensor",
    label = "neither a tensor nor a number",
    note = "tensors are combined with tensors, parameters and numbers; a layer's output is a Result: write `?` after the call"
)]
pub trait RightSide: sealed::Sealed {
    #[doc(hidden)]
    fn beside(self, left: &Tensor, name: &'static str, op: sealed::Op, at: At) -> Tensor;
}

pub(crate) mod sealed {
    /// The operator, which only this crate can name.
    #[derive(Debug)]
    pub struct Op(pub(super) crate::graph::op::BinaryOp);

    pub trait Sealed {}
}

impl sealed::Sealed for Tensor {}
impl RightSide for Tensor {
    fn beside(self, left: &Tensor, name: &'static str, op: sealed::Op, at: At) -> Tensor {
        left.binary(name, op.0, &self, at)
    }
}

impl sealed::Sealed for &Tensor {}
impl RightSide for &Tensor {
    fn beside(self, left: &Tensor, name: &'static str, op: sealed::Op, at: At) -> Tensor {
        left.binary(name, op.0, self, at)
    }
}

macro_rules! numbers_on_the_right {
    ($($number:ty)*) => {$(
        impl sealed::Sealed for $number {}
        impl RightSide for $number {
            fn beside(self, left: &Tensor, name: &'static str, op: sealed::Op, at: At) -> Tensor {
                left.binary_scalar(name, op.0, self as f64, false, at)
            }
        }
    )*};
}
for_numbers!(numbers_on_the_right);

// One implementation for all right sides: the result is known to be a tensor before the type of a literal is. On the left that
// cannot be written, so only the types that literals fall back to are implemented.
macro_rules! operator {
    ($trait:ident $method:ident, $assign_trait:ident $assign:ident) => {
        operator!(@right $trait $method, Tensor);
        operator!(@right $trait $method, &Tensor);
        operator!(@left $trait $method, f64, Tensor);
        operator!(@left $trait $method, f64, &Tensor);
        operator!(@left $trait $method, i32, Tensor);
        operator!(@left $trait $method, i32, &Tensor);

        /// Makes the left side name the result. Tensors do not change: other handles to the old value keep it.
        impl<R: RightSide> $assign_trait<R> for Tensor {
            #[track_caller]
            fn $assign(&mut self, right: R) {
                *self = right.beside(self, stringify!($method), sealed::Op(BinaryOp::$trait), Location::caller());
            }
        }
    };
    (@right $trait:ident $method:ident, $left:ty) => {
        impl<R: RightSide> $trait<R> for $left {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, right: R) -> Tensor {
                right.beside(&self, stringify!($method), sealed::Op(BinaryOp::$trait), Location::caller())
            }
        }
    };
    (@left $trait:ident $method:ident, $number:ty, $right:ty) => {
        impl $trait<$right> for $number {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, right: $right) -> Tensor {
                right.binary_scalar(stringify!($method), BinaryOp::$trait, f64::from(self), true, Location::caller())
            }
        }
    };
}

operator!(Add add, AddAssign add_assign);
operator!(Sub sub, SubAssign sub_assign);
operator!(Mul mul, MulAssign mul_assign);
operator!(Div div, DivAssign div_assign);
operator!(Rem rem, RemAssign rem_assign);

macro_rules! folds {
    ($($trait:ident $method:ident, $operator:ident, $what:literal;)*) => {$(
        #[doc = concat!("The ", $what, " of the tensors, broadcast; an error if there are none, since nothing tells their device and dtype.")]
        impl $trait for Tensor {
            #[track_caller]
            fn $method<I: Iterator<Item = Self>>(tensors: I) -> Self {
                match tensors.reduce(|a, b| a.$operator(&b)) {
                    Some(folded) => folded,
                    None => of_none(stringify!($method)),
                }
            }
        }

        #[doc = concat!("The ", $what, " of the tensors, broadcast; an error if there are none, since nothing tells their device and dtype.")]
        impl<'t> $trait<&'t Tensor> for Tensor {
            fn $method<I: Iterator<Item = &'t Tensor>>(tensors: I) -> Self {
                tensors.cloned().$method()
            }
        }
    )*};
}
folds! {
    Sum sum, add, "sum";
    Product product, mul, "product";
}

#[track_caller]
fn of_none(op: &'static str) -> Tensor {
    let help = "begin with a tensor of zeros or ones: iter.fold(start, |a, b| a + b)";
    Tensor::from_error(Error::argument(op, "there are no tensors, so device and dtype are unknown", help))
}

impl Neg for Tensor {
    type Output = Self;
    #[track_caller]
    fn neg(self) -> Self {
        Self::neg(&self)
    }
}

impl Neg for &Tensor {
    type Output = Tensor;
    #[track_caller]
    fn neg(self) -> Tensor {
        Tensor::neg(self)
    }
}
