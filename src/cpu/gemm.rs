//! A checked interface to the `gemm` crate.

use super::matrix::Matrix;
use super::vectors;
use crate::error::{Error, Result};
use rayon::prelude::*;
use std::ops::Range;

/// The most terms of one call: the crate never splits so few, whatever the caches.
const TERMS: usize = 512;

/// Products of fewer multiply-adds are not cut into parts.
const WORK: usize = 1 << 21;
/// The fewest columns, and rows, of a thread's part.
const COLUMNS: usize = 64;
const ROWS: usize = 128;
/// The terms from which parts of columns, and of rows, are faster than the crate's own threads.
const DEEP_COLUMNS: usize = 384;
const DEEP_ROWS: usize = 1024;

/// `dst[m][n] = Σ_k a[m][k] * b[k][n]`, added to dst if `accumulate`; dst has contiguous rows. Uses the thread pool that it
/// is called in if `parallel` and the product is large.
///
/// The order of additions depends on shapes and strides alone: on every machine that multiplies and adds in one step, the bits are
/// the same.
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
    if vectors::product([m, n, k], dst, accumulate, a, b, parallel) {
        return Ok(());
    }
    let terms = k.div_ceil(k.div_ceil(TERMS));
    // One or two terms at the end are for `vectors`, too.
    let rest = if k % terms <= 2 { k % terms } else { 0 };
    let dst = &mut dst[..m * n];
    let out = Destination { data: dst.as_mut_ptr(), stride: n };
    let threads = if parallel { rayon::current_num_threads() } else { 1 };
    let size = [m, n, k - rest];
    let part = |rows: Range<usize>, columns: Range<usize>, parallelism: gemm::Parallelism| {
        let a = Matrix { offset: a.offset + rows.start as i64 * a.row, ..a };
        let b = b.columns_after(columns.start);
        // SAFETY: dst holds m * n elements and is borrowed exclusively, parts lie within it and do not overlap; every element that
        // the strides of a and b reach was checked to be within their slices.
        unsafe { out.fill([rows, columns], k - rest, terms, accumulate, [a, b], parallelism) };
    };
    match cut(size, threads) {
        Some(Cut::Rows) => each_part(m, ROWS, threads, |rows| part(rows, 0..n, gemm::Parallelism::None)),
        Some(Cut::Columns) => each_part(n, COLUMNS, threads, |columns| part(0..m, columns, gemm::Parallelism::None)),
        None if parallel => part(0..m, 0..n, gemm::Parallelism::Rayon(0)),
        None => part(0..m, 0..n, gemm::Parallelism::None),
    }
    if rest > 0 {
        let first = k - rest;
        let (a, b) = (a.columns_after(first), b.transposed().columns_after(first).transposed());
        vectors::product([m, n, rest], dst, accumulate || first > 0, a, b, parallel);
    }
    Ok(())
}

/// What a product's threads have parts of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Rows,
    Columns,
}

/// How threads share a product. Without parts, the crate has them pack its operands together, a few hundred terms at a time, and wait
/// for one another; it wins where there are few terms or where parts would be narrow.
fn cut([m, n, k]: [usize; 3], threads: usize) -> Option<Cut> {
    match () {
        () if threads < 2 || (m * n).saturating_mul(k) < WORK => None,
        () if m >= 2 * n => (k >= DEEP_ROWS && m >= ROWS * threads).then_some(Cut::Rows),
        () if k >= DEEP_COLUMNS && n >= COLUMNS * threads => Some(Cut::Columns),
        () => None,
    }
}

/// Calls `part` with a range per thread.
fn each_part(len: usize, least: usize, threads: usize, part: impl Fn(Range<usize>) + Sync) {
    let size = len.div_ceil(threads).next_multiple_of(16).max(least);
    (0..len.div_ceil(size)).into_par_iter().for_each(|i| part(i * size..len.min((i + 1) * size)));
}

/// The memory of a product, whose threads write parts of their own.
#[derive(Clone, Copy)]
struct Destination {
    data: *mut f32,
    /// Elements to the next row.
    stride: usize,
}

#[allow(unsafe_code, reason = "threads write different columns of the same rows")]
// SAFETY: a pointer alone; those who write through it answer for what they write.
unsafe impl Send for Destination {}
#[allow(unsafe_code, reason = "threads write different columns of the same rows")]
// SAFETY: as above.
unsafe impl Sync for Destination {}

impl Destination {
    /// Computes some rows and columns from the rows of a and the columns of b that they are made of, so many terms at a time.
    ///
    /// # Safety
    /// The rows and columns are within the memory, and no other thread uses them; a and b hold what is read.
    #[allow(unsafe_code, reason = "the gemm crate takes raw pointers")]
    #[allow(clippy::cast_possible_truncation, reason = "strides lie within a buffer in memory")]
    unsafe fn fill(
        self,
        [rows, columns]: [Range<usize>; 2],
        k: usize,
        terms: usize,
        accumulate: bool,
        [a, b]: [Matrix; 2],
        parallelism: gemm::Parallelism,
    ) {
        for first in (0..k).step_by(terms) {
            let (a, b) = (a.columns_after(first), b.transposed().columns_after(first).transposed());
            // SAFETY: as the caller says.
            unsafe {
                gemm::gemm(
                    rows.len(),
                    columns.len(),
                    terms.min(k - first),
                    self.data.add(rows.start * self.stride + columns.start),
                    1,
                    self.stride as isize,
                    accumulate || first > 0,
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
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The one CPU kernel that writes through raw pointers, between 1,024 sentinels on both sides.
    #[test]
    fn products_stay_within_their_output() {
        const GUARD: usize = 1024;
        // The last ones are cut into rows and into columns, or leave one term at the end.
        let sizes = [[1, 1, 1], [3, 5, 7], [17, 1, 33], [1, 65, 2], [63, 65, 64], [130, 129, 3], [4, 4, 0]];
        let cut = [[517, 17, 1100], [41, 205, 700], [3, 5, 1 + 512 * 600]];
        for [m, n, k] in sizes.into_iter().chain(cut) {
            for parallel in [false, true] {
                let (a, b) = (vec![2.0; m * k], vec![0.5; k * n]);
                let a = Matrix { data: &a, offset: 0, row: k as i64, col: 1 };
                let b = Matrix { data: &b, offset: 0, row: n as i64, col: 1 };
                let mut memory = vec![-7.5; m * n + 2 * GUARD];
                gemm([m, n, k], &mut memory[GUARD..GUARD + m * n], false, a, b, parallel).unwrap();
                let what = format!("{m}x{n}x{k}");
                assert!(memory[GUARD..GUARD + m * n].iter().all(|&v| v == k as f32), "{what}");
                assert!(memory[..GUARD].iter().chain(&memory[GUARD + m * n..]).all(|&v| v == -7.5), "{what}: a sentinel");
            }
        }
    }

    /// The bits do not depend on how many threads there are, nor on how they share the work.
    #[test]
    fn parts_have_the_bits_of_the_whole() {
        let sizes = [
            [517, 67, 400],
            [128, 517, 2048],
            [41, 205, 700],
            [300, 300, 129],
            [700, 40, 1537],
            [65, 1000, 397],
            [1030, 130, 1025],
        ];
        let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let pools = [1, 2, 3, 5].map(pool);
        let (mut rows, mut columns) = (0, 0);
        for size @ [m, n, k] in sizes {
            let value = |i: usize| (i.wrapping_mul(2_654_435_761) % 8191) as f32 / 8191.0 - 0.5;
            let (a, b): (Vec<f32>, Vec<f32>) = ((0..m * k).map(value).collect(), (0..k * n).map(|i| value(i + 77)).collect());
            // Both ways that either matrix may lie in memory.
            for (way, flips) in [[false, false], [false, true], [true, false], [true, true]].into_iter().enumerate() {
                let lies = |data, rows, cols, flipped: bool| match flipped {
                    false => Matrix::rows_of(cols, data),
                    true => Matrix::rows_of(rows, data).transposed(),
                };
                let [a, b] = [lies(&a, m, k, flips[0]), lies(&b, k, n, flips[1])];
                let product = |pool: &rayon::ThreadPool| {
                    let mut out = vec![0.25; m * n];
                    pool.install(|| gemm(size, &mut out, way == 0, a, b, true)).unwrap();
                    out.into_iter().map(f32::to_bits).collect::<Vec<_>>()
                };
                let [one, more @ ..] = pools.each_ref().map(product);
                assert!(more.iter().all(|bits| *bits == one), "{size:?}, {flips:?}");
            }
            for threads in [2, 3, 5] {
                rows += usize::from(cut(size, threads) == Some(Cut::Rows));
                columns += usize::from(cut(size, threads) == Some(Cut::Columns));
            }
        }
        assert!(rows > 5 && columns > 5, "{rows} products in rows, {columns} in columns");
    }
}
