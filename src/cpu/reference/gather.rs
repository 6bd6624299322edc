//! Rows by index, and sums of rows by index. Indices out of range clamp.

use super::cross_entropy::clamp;
use super::{Numbers, Value};
use crate::error::Result;
use crate::shape::Shape;

/// Row `index[i]` of the table, for each i; zeros if the table is empty.
pub(super) fn gather(table: &Value, index: &Value) -> Result<Numbers> {
    let (rows, cols) = (table.shape[0], table.shape[1]);
    let from = |&i: &i32| (0..cols).map(move |c| (rows > 0).then(|| clamp(i, rows) * cols + c));
    Ok(table.data.pick(&index.ints()?.iter().flat_map(from).collect::<Vec<_>>()))
}

/// Row r of the result is the sum of the rows i of src with `index[i] = r`.
pub(super) fn scatter_add(src: &Value, index: &Value, shape: &Shape) -> Result<Numbers> {
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
