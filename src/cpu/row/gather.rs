//! Rows by index, and sums of rows by index. Indices out of range clamp; a check reports them.

use super::cross_entropy::clamp;
use bytemuck::{cast_slice, cast_slice_mut};
use rayon::prelude::*;

/// `out[i] = table[index[i]]`; rows of `cols`. An empty table gives zeros.
pub(super) fn gather(rows: usize, cols: usize, operands: &[&[u32]], out: &mut [u32]) {
    let (table, index): (&[u32], &[i32]) = (operands[0], cast_slice(operands[1]));
    if rows == 0 {
        return out.fill(0);
    }
    let task = (16_384 / cols.max(1)).max(1);
    out.par_chunks_mut(task * cols.max(1)).zip(index.par_chunks(task)).for_each(|(out, index)| {
        for (out, &i) in out.chunks_mut(cols).zip(index) {
            out.copy_from_slice(&table[clamp(i, rows) * cols..][..cols]);
        }
    });
}

/// `out[r] = Σ of src[i] where index[i] = r`, in the order of i.
pub(super) fn scatter_add(rows: usize, cols: usize, operands: &[&[u32]], out: &mut [u32]) {
    let (src, index): (&[f32], &[i32]) = (cast_slice(operands[0]), cast_slice(operands[1]));
    let out: &mut [f32] = cast_slice_mut(out);
    if rows == 0 || cols == 0 {
        return;
    }
    // Each task owns some rows of the result and scans all indices, so no two tasks add to one place.
    let tasks = ((index.len() + rows) * cols / 32_768).clamp(1, 16);
    let own = rows.div_ceil(tasks);
    out.par_chunks_mut(own * cols).enumerate().for_each(|(task, out)| {
        out.fill(0.0);
        let first = task * own;
        for (src, &i) in src.chunks(cols).zip(index) {
            let row = clamp(i, rows);
            if let Some(out) = row.checked_sub(first).and_then(|r| out.get_mut(r * cols..(r + 1) * cols)) {
                out.iter_mut().zip(src).for_each(|(o, &x)| *o += x);
            }
        }
    });
}

/// The same in f64, one element after the other.
pub(super) mod reference {
    use crate::cpu::reference::{Numbers, Value};
    use crate::cpu::row::cross_entropy::clamp;
    use crate::error::Result;
    use crate::shape::Shape;

    /// Row `index[i]` of the table, for each i; zeros if the table is empty.
    pub(crate) fn gather(table: &Value, index: &Value) -> Result<Numbers> {
        let (rows, cols) = (table.shape[0], table.shape[1]);
        let from = |&i: &i32| (0..cols).map(move |c| (rows > 0).then(|| clamp(i, rows) * cols + c));
        Ok(table.data.pick(&index.ints()?.iter().flat_map(from).collect::<Vec<_>>()))
    }

    /// Row r of the result is the sum of the rows i of src with `index[i] = r`.
    pub(crate) fn scatter_add(src: &Value, index: &Value, shape: &Shape) -> Result<Numbers> {
        let (rows, cols) = (shape[0], shape[1]);
        let mut out = vec![0.0; shape.numel()];
        if rows == 0 {
            return Ok(Numbers::Float(out));
        }
        for (row, &i) in src.floats()?.chunks(cols.max(1)).zip(index.ints()?) {
            for (c, x) in row.iter().enumerate() {
                out[clamp(i, rows) * cols + c] += x;
            }
        }
        Ok(Numbers::Float(out))
    }
}
