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
