//! A checked interface to the `gemm` crate.

use super::matrix::Matrix;
use super::vectors;
use crate::error::{Error, Result};

/// The most terms of one call: the crate never splits so few, whatever the caches.
const TERMS: usize = 512;

/// `dst[m][n] = Σ_k a[m][k] * b[k][n]`, added to dst if `accumulate`; dst has contiguous rows. Uses the thread pool that it
/// is called in if `parallel` and the product is large.
///
/// The order of additions depends on shapes and strides alone: on every machine that multiplies and adds in one step, the bits are
/// the same.
#[allow(unsafe_code, reason = "the gemm crate takes raw pointers")]
#[allow(clippy::cast_possible_truncation, reason = "strides lie within a buffer in memory")]
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
    let parallelism = if parallel { gemm::Parallelism::Rayon(0) } else { gemm::Parallelism::None };
    let terms = k.div_ceil(k.div_ceil(TERMS));
    for first in (0..k).step_by(terms) {
        let len = terms.min(k - first);
        let (a, b) = (a.columns_after(first), b.transposed().columns_after(first).transposed());
        let accumulate = accumulate || first > 0;
        if len <= 2 {
            vectors::product([m, n, len], dst, accumulate, a, b, parallel);
            continue;
        }
        // SAFETY: dst holds m * n elements and is borrowed exclusively; every element that the strides of a and b reach was
        // checked to be within their slices.
        unsafe {
            gemm::gemm(
                m,
                n,
                len,
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
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The one CPU kernel that writes through raw pointers, between 1,024 sentinels on both sides.
    #[test]
    fn products_stay_within_their_output() {
        const GUARD: usize = 1024;
        for [m, n, k] in [[1, 1, 1], [3, 5, 7], [17, 1, 33], [1, 65, 2], [63, 65, 64], [130, 129, 3], [4, 4, 0]] {
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
}
