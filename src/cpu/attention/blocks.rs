//! How attention is cut into blocks, and the rows that a block reads.

use crate::cpu::matrix::Matrix;
use crate::graph::View;
use bytemuck::cast_slice;

/// Queries of a block.
pub(super) const ROWS: usize = 64;
/// The most keys of a block.
pub(super) const COLUMNS: usize = 512;

/// The rows of an operand for an example and a head.
pub(super) fn matrix<'a>(view: &View, data: &'a [u32], [example, head]: [usize; 2]) -> Matrix<'a> {
    let strides = view.strides();
    let offset = view.offset + example as i64 * strides[0] + head as i64 * strides[1];
    Matrix { data: cast_slice(data), offset, row: strides[2], col: 1 }
}

/// Without its first rows.
pub(super) fn from_row(m: Matrix, row: usize) -> Matrix {
    Matrix { offset: m.offset + row as i64 * m.row, ..m }
}
