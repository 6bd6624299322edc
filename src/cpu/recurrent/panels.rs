//! Products with a matrix that many steps share: it is laid out once, in panels of columns that registers hold.

use crate::cpu::matrix::Matrix;
use pulp::{Arch, Simd, WithSimd};

/// Vectors of a panel's row.
const VECTORS: usize = 2;
/// Rows that are multiplied at a time: with as many sums as registers of any machine hold.
const ROWS: usize = 6;

/// Columns of a panel on this machine.
fn columns() -> usize {
    struct Lanes;
    impl WithSimd for Lanes {
        type Output = usize;

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            S::F32_LANES
        }
    }
    VECTORS * Arch::new().dispatch(Lanes)
}

/// The floats of a `[k, n]` matrix in panels.
pub(super) fn len(k: usize, n: usize) -> usize {
    k * n.next_multiple_of(columns())
}

/// Lays a `[k, n]` matrix out as panels `[n / columns][k][columns]`; columns past the last are 0.
pub(super) fn pack(b: Matrix, [k, n]: [usize; 2], panels: &mut [f32]) {
    let columns = columns();
    for (panel, out) in panels.chunks_mut(k.max(1) * columns).enumerate() {
        for (row, line) in out.chunks_mut(columns).enumerate() {
            for (j, to) in line.iter_mut().enumerate() {
                let column = panel * columns + j;
                *to = if column < n { b.at(row, column) } else { 0.0 };
            }
        }
    }
}

/// `c[m][n] += Σ_k a[m][k] * b[k][n]` for contiguous a and c, and b in panels. A row's bits do not depend on the other rows.
pub(super) fn accumulate([n, k]: [usize; 2], c: &mut [f32], a: &[f32], panels: &[f32]) {
    Arch::new().dispatch(Product { n, k, c, a, panels });
}

struct Product<'a> {
    n: usize,
    k: usize,
    c: &'a mut [f32],
    a: &'a [f32],
    panels: &'a [f32],
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { n, k, c, a, panels } = self;
        let columns = VECTORS * S::F32_LANES;
        for (panel, b) in panels.chunks(k.max(1) * columns).enumerate() {
            let (from, b) = (panel * columns, S::as_simd_f32s(b).0);
            for (c, a) in c.chunks_mut(ROWS * n).zip(a.chunks(ROWS * k)) {
                match a.len() / k {
                    6 => block::<S, 6>(simd, c, a, b, [n, k, from]),
                    5 => block::<S, 5>(simd, c, a, b, [n, k, from]),
                    4 => block::<S, 4>(simd, c, a, b, [n, k, from]),
                    3 => block::<S, 3>(simd, c, a, b, [n, k, from]),
                    2 => block::<S, 2>(simd, c, a, b, [n, k, from]),
                    _ => block::<S, 1>(simd, c, a, b, [n, k, from]),
                }
            }
        }
    }
}

/// R rows by a panel.
#[inline(always)]
fn block<S: Simd, const R: usize>(simd: S, c: &mut [f32], a: &[f32], b: &[S::f32s], [n, k, from]: [usize; 3]) {
    let mut sums = [[simd.splat_f32s(0.0); VECTORS]; R];
    // Where each vector's columns are in a row of c; fewer at the end.
    let place = |v: usize| (from + v * S::F32_LANES).min(n)..(from + (v + 1) * S::F32_LANES).min(n);
    for r in 0..R {
        for v in 0..VECTORS {
            sums[r][v] = simd.partial_load_f32s(&c[r * n..(r + 1) * n][place(v)]);
        }
    }
    let a = &a[..R * k];
    for (step, b) in b.chunks_exact(VECTORS).enumerate() {
        for r in 0..R {
            let factor = simd.splat_f32s(a[r * k + step]);
            for v in 0..VECTORS {
                sums[r][v] = simd.mul_add_f32s(factor, b[v], sums[r][v]);
            }
        }
    }
    for r in 0..R {
        for v in 0..VECTORS {
            simd.partial_store_f32s(&mut c[r * n..(r + 1) * n][place(v)], sums[r][v]);
        }
    }
}
