//! A checked door to the `gemm` crate.

use crate::error::{Error, Result};

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

    /// Whether `rows` by `cols` elements lie within the slice.
    fn holds(&self, rows: usize, cols: usize) -> bool {
        let (down, right) = ((rows as i64 - 1) * self.row, (cols as i64 - 1) * self.col);
        let low = self.offset + down.min(0) + right.min(0);
        let high = self.offset + down.max(0) + right.max(0);
        low >= 0 && high < self.data.len() as i64
    }
}

/// `dst[m][n] = Σ_k a[m][k] * b[k][n]`, added to dst if `accumulate`; dst has contiguous rows. Uses the thread pool that it
/// is called in if `parallel` and the product is large.
#[allow(unsafe_code, reason = "the gemm crate takes raw pointers")]
pub(super) fn gemm([m, n, k]: [usize; 3], dst: &mut [f32], accumulate: bool, a: Matrix, b: Matrix, parallel: bool) -> Result<()> {
    if m == 0 || n == 0 {
        return Ok(());
    }
    if dst.len() < m * n || (k > 0 && !(a.holds(m, k) && b.holds(k, n))) {
        return Err(Error::internal(format!("a {m} x {k} by {k} x {n} product reaches outside its operands")));
    }
    if k == 0 {
        if !accumulate {
            dst[..m * n].fill(0.0);
        }
        return Ok(());
    }
    let parallelism = if parallel { gemm::Parallelism::Rayon(0) } else { gemm::Parallelism::None };
    // SAFETY: dst holds m * n elements and is borrowed exclusively; every element that the strides of a and b reach was
    // checked to lie within their slices.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            dst.as_mut_ptr(),
            1,
            n as isize,
            accumulate,
            a.data.as_ptr().offset(a.offset as isize),
            a.col as isize,
            a.row as isize,
            b.data.as_ptr().offset(b.offset as isize),
            b.col as isize,
            b.row as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
    Ok(())
}
