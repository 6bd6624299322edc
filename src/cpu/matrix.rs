//! Strided matrices, as operands of products.

#![allow(clippy::cast_possible_truncation, reason = "indices are within a buffer in memory")]

/// A strided matrix within a slice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matrix<'a> {
    /// The memory.
    pub data: &'a [f32],
    /// Index of the first element.
    pub offset: i64,
    /// Elements to the next row.
    pub row: i64,
    /// Elements to the next column.
    pub col: i64,
}

impl<'a> Matrix<'a> {
    /// A contiguous matrix with rows of `cols`.
    pub fn rows_of(cols: usize, data: &'a [f32]) -> Self {
        Self { data, offset: 0, row: cols as i64, col: 1 }
    }

    /// Its transpose.
    pub fn transposed(self) -> Self {
        Self { row: self.col, col: self.row, ..self }
    }

    /// Without its first columns.
    pub fn columns_after(self, column: usize) -> Self {
        Self { offset: self.offset + column as i64 * self.col, ..self }
    }

    /// Whether `rows` by `cols` elements are within the slice.
    pub fn holds(&self, rows: usize, cols: usize) -> bool {
        let (down, right) = ((rows as i64 - 1) * self.row, (cols as i64 - 1) * self.col);
        let low = self.offset + down.min(0) + right.min(0);
        let high = self.offset + down.max(0) + right.max(0);
        low >= 0 && high < self.data.len() as i64
    }

    /// An element that it holds.
    #[inline(always)]
    pub fn at(&self, row: usize, col: usize) -> f32 {
        self.data[(self.offset + row as i64 * self.row + col as i64 * self.col) as usize]
    }

    /// `cols` elements of a row that is contiguous in memory.
    #[inline(always)]
    pub fn line(&self, row: usize, cols: usize) -> &'a [f32] {
        &self.data[(self.offset + row as i64 * self.row) as usize..][..cols]
    }
}
