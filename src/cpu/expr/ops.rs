//! The loops: one function of elements over a block of words.

use crate::cpu::math;
use crate::cpu::reference::elementwise::{binary_i32, binary_u32, unary_i32, unary_u32};
use crate::cpu::simd::{map, vectorize, zip};
use crate::dtype::{DType, F16};
use crate::graph::op::{BinaryOp, UnaryOp};
use bytemuck::{cast_slice, cast_slice_mut};

/// `out = op(a)`, a of `dtype`.
pub(super) fn unary(op: UnaryOp, dtype: DType, a: &[u32], out: &mut [u32]) {
    match dtype {
        DType::F32 | DType::F64 => unary_f32(op, cast_slice(a), out),
        DType::I32 => {
            let a: &[i32] = cast_slice(a);
            match op {
                UnaryOp::Neg => map(a, out, |x| x.wrapping_neg() as u32),
                UnaryOp::Abs => map(a, out, |x| x.wrapping_abs() as u32),
                _ => out.iter_mut().zip(a).for_each(|(o, &x)| *o = unary_i32(op, x) as u32),
            }
        }
        DType::U32 | DType::Bool | DType::U8 | DType::F16 => match op {
            UnaryOp::Not => map(a, out, |x| u32::from(x == 0)),
            _ => out.iter_mut().zip(a).for_each(|(o, &x)| *o = unary_u32(op, x)),
        },
    }
}

fn unary_f32(op: UnaryOp, a: &[f32], words: &mut [u32]) {
    match op {
        UnaryOp::Not => return map(a, words, |x| u32::from(x == 0.0)),
        UnaryOp::IsNan => return map(a, words, |x| u32::from(x.is_nan())),
        UnaryOp::IsFinite => return map(a, words, |x| u32::from(x.is_finite())),
        _ => {}
    }
    let out: &mut [f32] = cast_slice_mut(words);
    match op {
        UnaryOp::Neg => map(a, out, |x| -x),
        UnaryOp::Abs => map(a, out, f32::abs),
        UnaryOp::Sign => map(a, out, |x| f32::from(i8::from(x > 0.0) - i8::from(x < 0.0))),
        UnaryOp::Sqrt => map(a, out, f32::sqrt),
        UnaryOp::Rsqrt => map(a, out, |x| 1.0 / x.sqrt()),
        UnaryOp::Reciprocal => map(a, out, |x| 1.0 / x),
        UnaryOp::Square => map(a, out, |x| x * x),
        UnaryOp::Exp => map(a, out, math::exp),
        UnaryOp::Expm1 => map(a, out, math::expm1),
        UnaryOp::Log => map(a, out, math::log),
        UnaryOp::Log1p => map(a, out, math::log1p),
        UnaryOp::Sigmoid => map(a, out, math::sigmoid),
        UnaryOp::Softplus => map(a, out, math::softplus),
        UnaryOp::Tanh => map(a, out, math::tanh),
        UnaryOp::Relu => map(a, out, |x| if x <= 0.0 { 0.0 } else { x }),
        UnaryOp::Floor => map(a, out, f32::floor),
        UnaryOp::Ceil => map(a, out, f32::ceil),
        UnaryOp::Round => map(a, out, f32::round_ties_even),
        UnaryOp::Trunc => map(a, out, f32::trunc),
        UnaryOp::Sin if angles_are_small(a) => map(a, out, math::sin),
        UnaryOp::Cos if angles_are_small(a) => map(a, out, math::cos),
        UnaryOp::Sin => each(a, out, f32::sin),
        UnaryOp::Cos => each(a, out, f32::cos),
        UnaryOp::Tan => each(a, out, f32::tan),
        UnaryOp::Asin => each(a, out, f32::asin),
        UnaryOp::Acos => each(a, out, f32::acos),
        UnaryOp::Atan => each(a, out, f32::atan),
        UnaryOp::Sinh => each(a, out, f32::sinh),
        UnaryOp::Cosh => each(a, out, f32::cosh),
        UnaryOp::Erf => map(a, out, math::erf),
        UnaryOp::Not | UnaryOp::IsNan | UnaryOp::IsFinite => {}
    }
}

/// Whether [`math::sin`] is accurate for the whole block; not so with NaN or infinity.
fn angles_are_small(a: &[f32]) -> bool {
    vectorize(
        #[inline(always)]
        || a.iter().fold(true, |small, x| small & (x.abs() <= math::LARGEST_ANGLE)),
    )
}

/// A loop around a library call, which does not vectorise.
fn each(a: &[f32], out: &mut [f32], f: impl Fn(f32) -> f32) {
    out.iter_mut().zip(a).for_each(|(o, &x)| *o = f(x));
}

/// `out = a op b`, both of `dtype`.
pub(super) fn binary(op: BinaryOp, dtype: DType, a: &[u32], b: &[u32], out: &mut [u32]) {
    match dtype {
        DType::F32 | DType::F64 => binary_f32(op, cast_slice(a), cast_slice(b), out),
        DType::I32 => {
            let (a, b): (&[i32], &[i32]) = (cast_slice(a), cast_slice(b));
            match op {
                BinaryOp::Add => zip(a, b, out, |a, b| a.wrapping_add(b) as u32),
                BinaryOp::Sub => zip(a, b, out, |a, b| a.wrapping_sub(b) as u32),
                BinaryOp::Mul => zip(a, b, out, |a, b| a.wrapping_mul(b) as u32),
                BinaryOp::Eq => zip(a, b, out, |a, b| u32::from(a == b)),
                BinaryOp::Lt => zip(a, b, out, |a, b| u32::from(a < b)),
                _ => zip_each(a, b, out, |a, b| binary_i32(op, a, b) as u32),
            }
        }
        DType::U32 | DType::Bool | DType::U8 | DType::F16 => match op {
            BinaryOp::And => zip(a, b, out, |a, b| a & b),
            BinaryOp::Lt => zip(a, b, out, |a, b| u32::from(a < b)),
            BinaryOp::Ge => zip(a, b, out, |a, b| u32::from(a >= b)),
            _ => zip_each(a, b, out, |a, b| binary_u32(op, a, b)),
        },
    }
}

fn zip_each<T: Copy>(a: &[T], b: &[T], out: &mut [u32], f: impl Fn(T, T) -> u32) {
    out.iter_mut().zip(a).zip(b).for_each(|((o, &a), &b)| *o = f(a, b));
}

fn binary_f32(op: BinaryOp, a: &[f32], b: &[f32], words: &mut [u32]) {
    match op {
        BinaryOp::Eq => return zip(a, b, words, |a, b| u32::from(a == b)),
        BinaryOp::Ne => return zip(a, b, words, |a, b| u32::from(a != b)),
        BinaryOp::Lt => return zip(a, b, words, |a, b| u32::from(a < b)),
        BinaryOp::Le => return zip(a, b, words, |a, b| u32::from(a <= b)),
        BinaryOp::Gt => return zip(a, b, words, |a, b| u32::from(a > b)),
        BinaryOp::Ge => return zip(a, b, words, |a, b| u32::from(a >= b)),
        _ => {}
    }
    let out: &mut [f32] = cast_slice_mut(words);
    let truth = |b: bool| f32::from(u8::from(b));
    match op {
        BinaryOp::Add => zip(a, b, out, |a, b| a + b),
        BinaryOp::Sub => zip(a, b, out, |a, b| a - b),
        BinaryOp::Mul => zip(a, b, out, |a, b| a * b),
        BinaryOp::Div => zip(a, b, out, |a, b| a / b),
        BinaryOp::Minimum => zip(a, b, out, math::minimum),
        BinaryOp::Maximum => zip(a, b, out, math::maximum),
        BinaryOp::Pow => out.iter_mut().zip(a).zip(b).for_each(|((o, &a), &b)| *o = math::pow(a, b)),
        BinaryOp::Rem => out.iter_mut().zip(a).zip(b).for_each(|((o, &a), &b)| *o = math::rem(a, b)),
        BinaryOp::Atan2 => out.iter_mut().zip(a).zip(b).for_each(|((o, &a), &b)| *o = math::atan2(a, b)),
        BinaryOp::And => zip(a, b, out, |a, b| truth(a != 0.0 && b != 0.0)),
        BinaryOp::Or => zip(a, b, out, |a, b| truth(a != 0.0 || b != 0.0)),
        BinaryOp::Xor => zip(a, b, out, |a, b| truth((a != 0.0) != (b != 0.0))),
        BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => {}
    }
}

/// `condition ? a : b`, of any dtype.
pub(super) fn select(condition: &[u32], a: &[u32], b: &[u32], out: &mut [u32]) {
    vectorize(
        #[inline(always)]
        || {
            for (((o, &c), &a), &b) in out.iter_mut().zip(condition).zip(a).zip(b) {
                *o = if c != 0 { a } else { b };
            }
        },
    );
}

/// Conversion: floats truncate and saturate, integers reinterpret their bits, `Bool` is `x != 0`.
pub(super) fn cast(from: DType, to: DType, a: &[u32], out: &mut [u32]) {
    match (from, to) {
        (DType::F32, DType::Bool) => map(cast_slice::<u32, f32>(a), out, |x| u32::from(x != 0.0)),
        (DType::F32, DType::I32) => map(cast_slice::<u32, f32>(a), out, |x| x as i32 as u32),
        (DType::F32, DType::U32) => map(cast_slice::<u32, f32>(a), out, |x| x as u32),
        (DType::I32, DType::F32) => map(cast_slice::<u32, i32>(a), out, |x| (x as f32).to_bits()),
        (DType::F16, DType::Bool) => map(a, out, |x| u32::from(x & 0x7FFF != 0)),
        (DType::F16, DType::F32) => map(a, out, |x| half(x).to_bits()),
        (DType::F16, DType::I32) => map(a, out, |x| half(x) as i32 as u32),
        (DType::F16, DType::U32) => map(a, out, |x| half(x) as u32),
        (DType::F16, DType::U8) => map(a, out, |x| u32::from(half(x) as u8)),
        (DType::F32, DType::F16) => map(cast_slice::<u32, f32>(a), out, to_half),
        (DType::I32, DType::F16) => map(cast_slice::<u32, i32>(a), out, |x| to_half(x as f32)),
        (DType::U32 | DType::Bool | DType::U8, DType::F16) => map(a, out, |x| to_half(x as f32)),
        (DType::F32, DType::U8) => map(cast_slice::<u32, f32>(a), out, |x| u32::from(x as u8)),
        (DType::I32 | DType::U32, DType::U8) => map(a, out, |x| x & 0xFF),
        (DType::U32 | DType::Bool | DType::U8, DType::F32) => map(a, out, |x| (x as f32).to_bits()),
        (DType::I32 | DType::U32 | DType::U8, DType::Bool) => map(a, out, |x| u32::from(x != 0)),
        _ => out.copy_from_slice(a),
    }
}

/// The number whose F16 bits a word holds.
#[inline(always)]
fn half(word: u32) -> f32 {
    F16::from_bits(word as u16).to_f32()
}

/// The bits of the nearest F16, in a word.
#[inline(always)]
fn to_half(x: f32) -> u32 {
    u32::from(F16::from_f32(x).to_bits())
}
