//! The order of rows: keys and positions in one word each, sorted by the standard library or, where there is one long row,
//! by all threads.

use crate::dtype::DType;
use bytemuck::cast_slice_mut;
use rayon::prelude::*;

/// Rows at least this long are sorted by several threads.
const LONG: usize = 1 << 15;

/// The place of a 32-bit element among all of its type, ascending: NaN last, -0 equal to 0. As `key` in `shaders/sort.wgsl`.
fn key(dtype: DType, bits: u32) -> u32 {
    match dtype {
        DType::F32 | DType::F64 => match bits & 0x7fff_ffff {
            0 => 0x8000_0000,
            magnitude if magnitude > 0x7f80_0000 => u32::MAX,
            _ if bits >> 31 == 1 => !bits,
            _ => bits | 0x8000_0000,
        },
        DType::I32 => bits ^ 0x8000_0000,
        // Ops widen F16 before it comes here, and its non-negative bits are in order.
        DType::U32 | DType::Bool | DType::U8 | DType::F16 => bits,
    }
}

/// Positions of each row's elements in order: rows of `cols`.
pub(super) fn argsort(cols: usize, dtype: DType, descending: bool, x: &[u32], out: &mut [u32]) {
    if cols == 0 {
        return;
    }
    let flip = if descending { u32::MAX } else { 0 };
    // Equal keys keep their order because the position decides.
    let pair = |(i, &bits): (usize, &u32)| u64::from(key(dtype, bits) ^ flip) << 32 | i as u64;
    let out: &mut [i32] = cast_slice_mut(out);
    let task = (LONG / cols).max(1) * cols;
    out.par_chunks_mut(task).zip(x.par_chunks(task)).for_each(|(out, x)| {
        let mut pairs: Vec<u64> = Vec::with_capacity(cols);
        for (out, x) in out.chunks_mut(cols).zip(x.chunks(cols)) {
            pairs.clear();
            pairs.extend(x.iter().enumerate().map(pair));
            if cols < LONG {
                pairs.sort_unstable();
            } else {
                pairs.par_sort_unstable();
            }
            out.iter_mut().zip(&pairs).for_each(|(o, &p)| *o = (p & 0xffff_ffff) as i32);
        }
    });
}

/// The same in f64, one element after the other.
pub(super) mod reference {
    use crate::cpu::reference::{Numbers, Value};
    use std::cmp::Ordering;

    /// The positions of each row's elements in order. The sort is stable; NaN is the largest, -0 equals 0.
    pub(crate) fn argsort(x: &Value, descending: bool) -> Numbers {
        #[allow(clippy::cast_possible_truncation, reason = "a row has fewer than 2^31 elements")]
        fn go<T>(values: &[T], cols: usize, descending: bool, compare: impl Fn(&T, &T) -> Ordering) -> Numbers {
            let mut out = Vec::with_capacity(values.len());
            for row in values.chunks(cols.max(1)) {
                let mut order: Vec<usize> = (0..row.len()).collect();
                order.sort_by(|&i, &j| if descending { compare(&row[j], &row[i]) } else { compare(&row[i], &row[j]) });
                out.extend(order.into_iter().map(|i| i as i32));
            }
            Numbers::I32(out)
        }
        let cols = x.shape.last().copied().unwrap_or(1);
        match &x.data {
            Numbers::Float(v) => {
                let or_nan = |a: &f64, b: &f64| a.is_nan().cmp(&b.is_nan());
                go(v, cols, descending, |a, b| a.partial_cmp(b).unwrap_or_else(|| or_nan(a, b)))
            }
            Numbers::I32(v) => go(v, cols, descending, Ord::cmp),
            Numbers::U32(v) => go(v, cols, descending, Ord::cmp),
        }
    }
}
