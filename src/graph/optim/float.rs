//! The types that an optimizer's formula is computed in.

use std::ops::{Add, Div, Mul, Sub};

/// f32 on the CPU device; f64 in the reference.
pub(crate) trait Float:
    Copy + PartialOrd + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    /// 0.
    const ZERO: Self;
    /// The same number.
    fn of(x: f32) -> Self;
    /// The square root.
    fn sqrt(self) -> Self;
    /// The distance from 0.
    fn abs(self) -> Self;
    /// The larger of two numbers.
    fn max(self, other: Self) -> Self;
    /// 1 or -1; 0 and NaN stay.
    fn sign(self) -> Self;
}

macro_rules! float {
    ($type:ty) => {
        impl Float for $type {
            const ZERO: Self = 0.0;
            #[inline(always)]
            fn of(x: f32) -> Self {
                x.into()
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                self.sqrt()
            }
            #[inline(always)]
            fn abs(self) -> Self {
                self.abs()
            }
            #[inline(always)]
            fn max(self, other: Self) -> Self {
                self.max(other)
            }
            #[inline(always)]
            fn sign(self) -> Self {
                if self == 0.0 || self.is_nan() { self } else { Self::copysign(1.0, self) }
            }
        }
    };
}

float!(f32);
float!(f64);
