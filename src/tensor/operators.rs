//! `+ - * / %` and unary `-`, on references and values, with tensors and numbers.

use super::Tensor;
use crate::graph::op::BinaryOp;
use std::ops::{Add, Div, Mul, Neg, Rem, Sub};
use std::panic::Location;

/// What a method like [`Tensor::gt`] or [`Tensor::maximum`] takes beside a tensor: another tensor, or a number, which takes the
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

impl From<f64> for Operand<'_> {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<f32> for Operand<'_> {
    fn from(number: f32) -> Self {
        Self::Number(f64::from(number))
    }
}

impl From<i32> for Operand<'_> {
    fn from(number: i32) -> Self {
        Self::Number(f64::from(number))
    }
}

macro_rules! operator {
    ($trait:ident, $method:ident, $op:ident) => {
        operator!(@tensors $trait $method $op, Tensor, Tensor);
        operator!(@tensors $trait $method $op, Tensor, &Tensor);
        operator!(@tensors $trait $method $op, &Tensor, Tensor);
        operator!(@tensors $trait $method $op, &Tensor, &Tensor);
        operator!(@numbers $trait $method $op, f64);
        operator!(@numbers $trait $method $op, i32);
    };
    (@tensors $trait:ident $method:ident $op:ident, $lhs:ty, $rhs:ty) => {
        impl $trait<$rhs> for $lhs {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, rhs: $rhs) -> Tensor {
                self.binary(stringify!($method), BinaryOp::$op, &rhs, Location::caller())
            }
        }
    };
    (@numbers $trait:ident $method:ident $op:ident, $number:ty) => {
        operator!(@number $trait $method $op, Tensor, $number);
        operator!(@number $trait $method $op, &Tensor, $number);
    };
    (@number $trait:ident $method:ident $op:ident, $tensor:ty, $number:ty) => {
        impl $trait<$number> for $tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, rhs: $number) -> Tensor {
                self.binary_scalar(stringify!($method), BinaryOp::$op, f64::from(rhs), false, Location::caller())
            }
        }
        impl $trait<$tensor> for $number {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, rhs: $tensor) -> Tensor {
                rhs.binary_scalar(stringify!($method), BinaryOp::$op, f64::from(self), true, Location::caller())
            }
        }
    };
}

operator!(Add, add, Add);
operator!(Sub, sub, Sub);
operator!(Mul, mul, Mul);
operator!(Div, div, Div);
operator!(Rem, rem, Rem);

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
