//! Reading and writing elements by index within rows: `[rows, len]` by an i32 index `[rows, n]`.
//!
//! Few indices are compared with positions inside one fused reduction: the comparison's `[rows, len, n]` is never in memory, and
//! gradients are reductions of the same kind. With many indices, floats are gathered and added up by row, and what has no such
//! kernel is sorted. Indices out of range are clamped; who calls has them checked.

use super::Tensor;
use crate::dtype::DType;
use crate::error::Result;
use crate::shape::{Shape, product};

/// Up to this many pairs of an index and a position in a row are compared.
const SEARCHED: usize = 1 << 12;

/// Element `index[r][i]` of each row r: `[rows, len]` and `[rows, n]` give `[rows, n]`.
pub(super) fn picked(x: &Tensor, index: &Tensor) -> Result<Tensor> {
    let [rows, len] = x.dims::<2>()?;
    let count = index.dims::<2>()?[1];
    if let Some(flat) = flat(index, len)?.filter(|_| !x.requires_grad() || product(&[len, count]) > SEARCHED) {
        return Ok(x.reshape([rows * len, 1]).gather_rows_within(&flat).reshape([rows, count]));
    }
    // A sum of one term: its gradient is a sum over the few indices.
    let chosen = hits(index, len)?.permute(&[0, 2, 1]);
    Ok(chosen.where_(&x.unsqueeze(1), &x.scalar_like(0.0)).sum_dim(2))
}

/// Each row's sums of the elements of `[rows, n]` that share an index: `[rows, len]`.
pub(super) fn added(src: &Tensor, index: &Tensor, len: usize) -> Result<Tensor> {
    let [rows, count] = src.dims::<2>()?;
    match flat(index, len)?.filter(|_| product(&[len, count]) > SEARCHED) {
        Some(flat) if src.dtype()?.is_float() => {
            Ok(src.reshape([rows * count, 1]).scatter_add_rows_within(rows * len, &flat).reshape([rows, len]))
        }
        Some(_) => {
            // Differences of running sums: integers wrap around, so that these are exact.
            let sorted = Sorted::of(index, len)?;
            let ordered = picked(&src.pad(&[(0, 0), (0, len)]), &sorted.order)?;
            let sums = picked(&ordered.cumsum(1), &sorted.ends)?;
            Ok(&sums - sums.slice(1, 0, len as isize - 1).pad(&[(0, 0), (1, 0)]))
        }
        None => Ok(hits(index, len)?.where_(&src.unsqueeze(1), &src.scalar_like(0.0)).sum_dim(2)),
    }
}

/// The last index of each row that points to each place, counted from 1, or 0 where none does: i32, `[rows, len]`.
pub(super) fn last_writers(index: &Tensor, len: usize) -> Result<Tensor> {
    let [_, count] = index.dims::<2>()?;
    let none = index.scalar_like(0.0);
    if flat(index, len)?.is_none() || product(&[len, count]) <= SEARCHED {
        let turn = Tensor::iota(count, DType::I32, &index.device()?)?.reshape([1, 1, count]);
        return Ok(hits(index, len)?.where_(&(turn + 1), &none).max_dim(2));
    }
    let sorted = Sorted::of(index, len)?;
    // What comes before a place's end is the last index that points there, or the end of the place before.
    let before = picked(&sorted.order, &(&sorted.ends - 1).maximum(&none))?;
    let written = sorted.ends.gt(&none).logical_and(&before.lt(&before.scalar_like(count as f64)));
    Ok(written.where_(&(before + 1), &none))
}

/// The indices of each row in ascending order, equal ones as they were, with an end mark for each place after those that point
/// there.
struct Sorted {
    /// `[rows, n + len]`: the number of an index, or n + p for the end of place p.
    order: Tensor,
    /// `[rows, len]`: where in `order` the ends are.
    ends: Tensor,
}

impl Sorted {
    fn of(index: &Tensor, len: usize) -> Result<Self> {
        let [rows, count] = index.dims::<2>()?;
        let places = Tensor::iota(len, DType::I32, &index.device()?)?.broadcast_to(Shape::new(&[rows, len])?);
        let order = Tensor::cat(&[&index.clamp(0.0, len as f64 - 1.0), &places], 1).argsort(1, false);
        // The inverse of a permutation sorts it.
        let ends = order.argsort(1, false).slice(1, count as isize, (count + len) as isize);
        Ok(Self { order, ends })
    }
}

/// An index `[rows, n]` of positions `0..len` in each row as one of positions in all rows; none if i32 cannot count them.
fn flat(index: &Tensor, len: usize) -> Result<Option<Tensor>> {
    let [rows, count] = index.dims::<2>()?;
    if i32::try_from(rows.saturating_mul(len.max(count))).is_err() {
        return Ok(None);
    }
    let first = Tensor::iota(rows, DType::I32, &index.device()?)?.reshape([rows, 1]) * len as f64;
    Ok(Some((index.clamp(0.0, len as f64 - 1.0) + first).reshape([rows * count])))
}

/// Bool `[rows, len, n]` of an index `[rows, n]`: position p is where index i points.
fn hits(index: &Tensor, len: usize) -> Result<Tensor> {
    let place = Tensor::iota(len, DType::I32, &index.device()?)?.reshape([1, len, 1]);
    Ok(index.clamp(0.0, len as f64 - 1.0).unsqueeze(1).eq(&place))
}
