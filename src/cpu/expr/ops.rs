//! The loops: one function of elements over a block of words.

#![allow(clippy::cast_possible_truncation, reason = "casts truncate and saturate, as `Tensor::cast` says")]

use crate::cpu::simd::{map, vectorize, zip};
use crate::dtype::{DType, F16};
use crate::graph::binary::{BinaryOp, VisitPairs};
use crate::graph::unary::{UnaryOp, Visit};
use crate::math::{Word, fast};
use bytemuck::cast_slice;

/// `out[i] = f(a[i])`.
struct Map<'a, T>(&'a [T], &'a mut [u32]);

impl<T: Copy> Visit<T> for Map<'_, T> {
    type Output = ();
    #[inline(always)]
    fn visit<R: Word>(self, f: impl Fn(T) -> R) {
        map(
            self.0,
            self.1,
            #[inline(always)]
            |x| f(x).word(),
        );
    }
}

/// `out[i] = f(a[i], b[i])`.
struct Zip<'a, T>(&'a [T], &'a [T], &'a mut [u32]);

impl<T: Copy> VisitPairs<T> for Zip<'_, T> {
    type Output = ();
    #[inline(always)]
    fn visit<R: Word>(self, f: impl Fn(T, T) -> R) {
        zip(
            self.0,
            self.1,
            self.2,
            #[inline(always)]
            |a, b| f(a, b).word(),
        );
    }
}

/// `out = op(a)`, a of `dtype`.
pub(super) fn unary(op: UnaryOp, dtype: DType, a: &[u32], out: &mut [u32]) {
    match dtype {
        DType::F32 | DType::F64 => {
            let a: &[f32] = cast_slice(a);
            match op {
                UnaryOp::Sin if angles_are_small(a) => Map(a, out).visit(fast::sin),
                UnaryOp::Cos if angles_are_small(a) => Map(a, out).visit(fast::cos),
                op => op.of_f32(Map(a, out)),
            }
        }
        DType::I32 => op.of_i32(Map(cast_slice(a), out)),
        DType::U32 | DType::Bool | DType::U8 | DType::F16 => op.of_u32(Map(a, out)),
    }
}

/// Whether [`fast::sin`] is accurate for the whole block; not so with NaN or infinity.
fn angles_are_small(a: &[f32]) -> bool {
    vectorize(
        #[inline(always)]
        || a.iter().fold(true, |small, x| small & (x.abs() <= fast::LARGEST_ANGLE)),
    )
}

/// `out = a op b`, both of `dtype`.
pub(super) fn binary(op: BinaryOp, dtype: DType, a: &[u32], b: &[u32], out: &mut [u32]) {
    match dtype {
        DType::F32 | DType::F64 => op.of_f32(Zip(cast_slice(a), cast_slice(b), out)),
        DType::I32 => op.of_i32(Zip(cast_slice(a), cast_slice(b), out)),
        DType::U32 | DType::Bool | DType::U8 | DType::F16 => op.of_u32(Zip(a, b, out)),
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
