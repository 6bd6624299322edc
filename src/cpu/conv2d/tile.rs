//! Products of matrices, a tile of registers at a time.

use pulp::{Arch, Simd, WithSimd};

/// Calls the instance of a tile for so many rows and vectors.
macro_rules! by_shape {
    ($tile:ident, $rows:expr, $vectors:expr, $arguments:tt) => {
        match $rows {
            8 => by_shape!(@vectors $tile, 8, $vectors, $arguments),
            4 => by_shape!(@vectors $tile, 4, $vectors, $arguments),
            2 => by_shape!(@vectors $tile, 2, $vectors, $arguments),
            _ => by_shape!(@vectors $tile, 1, $vectors, $arguments),
        }
    };
    (@vectors $tile:ident, $rows:literal, $vectors:expr, $arguments:tt) => {
        match $vectors {
            3 => $tile::<S, $rows, 3> $arguments,
            2 => $tile::<S, $rows, 2> $arguments,
            _ => $tile::<S, $rows, 1> $arguments,
        }
    };
}

/// Vectors of a panel's row, at most.
pub(super) const VECTORS: usize = 3;

/// What the registers of this machine hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tile {
    /// Rows of a tile, at most.
    pub rows: usize,
    /// Elements of a vector.
    pub lanes: usize,
}

impl Tile {
    /// Of this machine.
    pub fn new() -> Self {
        Arch::new().dispatch(Registers)
    }
}

struct Registers;

impl WithSimd for Registers {
    type Output = Tile;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Tile {
        Tile { rows: rows::<S>(), lanes: S::F32_LANES }
    }
}

const fn rows<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { 8 } else { 4 }
}

/// Sums of a panel: rows of `vectors` vectors. They are made of as many columns of the right matrix, from `start` on.
pub(super) struct Panel<'a> {
    pub vectors: usize,
    pub start: usize,
    pub sums: &'a mut [f32],
}

/// A matrix whose row k is at `rows[k]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Right<'a> {
    pub data: &'a [f32],
    pub rows: &'a [usize],
}

/// `sums (+)= left * right` for every panel; sums start at 0 unless `accumulate`. The left matrix has m rows, in blocks of
/// [`Tile::rows`], `[k][rows]` each; then of 4, 2 and 1 of the rows that are left.
pub(super) fn multiply(left: &[f32], m: usize, right: Right, accumulate: bool, panels: &mut [Panel]) {
    if right.rows.is_empty() {
        if !accumulate {
            panels.iter_mut().for_each(|panel| panel.sums.fill(0.0));
        }
        return;
    }
    Arch::new().dispatch(Multiply { left, m, right, accumulate, panels });
}

struct Multiply<'a, 'b> {
    left: &'a [f32],
    m: usize,
    right: Right<'a>,
    accumulate: bool,
    panels: &'a mut [Panel<'b>],
}

impl WithSimd for Multiply<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { left, m, right, accumulate, panels } = self;
        let k = right.rows.len();
        let mut row = 0;
        while row < m {
            let count = block(rows::<S>(), m - row);
            let left = &left[row * k..(row + count) * k];
            for panel in panels.iter_mut() {
                let sums = &mut panel.sums[row * panel.vectors * S::F32_LANES..];
                let right = Right { data: &right.data[panel.start..], rows: right.rows };
                by_shape!(packed, count, panel.vectors, (simd, left, right, sums, accumulate));
            }
            row += count;
        }
    }
}

/// `sums (+)= left * right` where row r of the left matrix is at `left.rows[r]`, with an element for each row of panels
/// `[k][vectors]`, one after the other in `right`; sums are in panels, too.
pub(super) fn correlate(left: Right, right: &[f32], k: usize, widths: &[usize], accumulate: bool, sums: &mut [f32]) {
    Arch::new().dispatch(Correlate { left, right, k, widths, accumulate, sums });
}

struct Correlate<'a> {
    left: Right<'a>,
    right: &'a [f32],
    k: usize,
    widths: &'a [usize],
    accumulate: bool,
    sums: &'a mut [f32],
}

impl WithSimd for Correlate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { left, right, k, widths, accumulate, sums } = self;
        let m = left.rows.len();
        let right = S::as_simd_f32s(right).0;
        let mut row = 0;
        while row < m {
            let count = block(rows::<S>(), m - row);
            let rows = &left.rows[row..row + count];
            let mut before = 0;
            for &vectors in widths {
                let right = &right[before * k..(before + vectors) * k];
                let sums = &mut sums[(before * m + row * vectors) * S::F32_LANES..];
                by_shape!(lines, count, vectors, (simd, left.data, rows, right, sums, accumulate));
                before += vectors;
            }
            row += count;
        }
    }
}

/// Rows of the next block of `left` rows.
pub(super) const fn block(most: usize, left: usize) -> usize {
    let mut rows = most;
    while rows > left {
        rows /= 2;
    }
    rows
}

#[inline(always)]
fn packed<S: Simd, const R: usize, const V: usize>(simd: S, left: &[f32], right: Right, sums: &mut [f32], accumulate: bool) {
    let mut found = [[simd.splat_f32s(0.0); V]; R];
    for (a, &row) in left.chunks_exact(R).zip(right.rows) {
        let b = S::as_simd_f32s(&right.data[row..row + V * S::F32_LANES]).0;
        for r in 0..R {
            let a = simd.splat_f32s(a[r]);
            for v in 0..V {
                found[r][v] = simd.mul_add_f32s(a, b[v], found[r][v]);
            }
        }
    }
    store::<S, R, V>(simd, found, sums, accumulate);
}

#[inline(always)]
fn lines<S: Simd, const R: usize, const V: usize>(
    simd: S,
    data: &[f32],
    rows: &[usize],
    right: &[S::f32s],
    sums: &mut [f32],
    accumulate: bool,
) {
    let mut found = [[simd.splat_f32s(0.0); V]; R];
    let k = right.len() / V;
    let lines: [&[f32]; R] = std::array::from_fn(|r| &data[rows[r]..rows[r] + k]);
    for (i, b) in right.chunks_exact(V).enumerate() {
        for r in 0..R {
            let a = simd.splat_f32s(lines[r][i]);
            for v in 0..V {
                found[r][v] = simd.mul_add_f32s(a, b[v], found[r][v]);
            }
        }
    }
    store::<S, R, V>(simd, found, sums, accumulate);
}

#[inline(always)]
fn store<S: Simd, const R: usize, const V: usize>(simd: S, found: [[S::f32s; V]; R], sums: &mut [f32], accumulate: bool) {
    let sums = &mut S::as_mut_simd_f32s(sums).0[..R * V];
    for r in 0..R {
        for v in 0..V {
            let sum = &mut sums[r * V + v];
            *sum = if accumulate { simd.add_f32s(*sum, found[r][v]) } else { found[r][v] };
        }
    }
}
