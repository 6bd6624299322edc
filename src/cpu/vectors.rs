//! Products whose order of additions the gemm crate takes from the width of the vector unit: those of vectors, small ones of dot
//! products, and those of one or two terms. Here it depends on shapes and strides alone, and no product is fused with its
//! addition, so that every machine computes the same bits.

use super::matrix::Matrix;
use super::simd::vectorize;
use rayon::prelude::*;

/// Partial sums of a dot product, so that its loop vectorises.
const LANES: usize = 16;
/// Terms of a dot product whose sum is finished before it is added to the others'.
const BLOCK: usize = 512;
/// Products below which threads cost more than they save.
const WORK: usize = 1 << 19;
/// Elements of a row that stay near while multiples are added to them.
const COLUMNS: usize = 1024;
/// Dot products of a parallel task.
const DOTS_OF_TASK: usize = 64;
/// The most elements of a result that is made of dot products here.
const DOTS: usize = 256;

/// How a product is computed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// One or two terms per element.
    Outer,
    /// A row times a matrix with contiguous rows: multiples of them are added up.
    Multiples,
    /// Dot products, of contiguous elements if the strides of both factors are 1.
    Dots,
}

fn way([m, n, k]: [usize; 3], a: &Matrix, b: &Matrix) -> Option<Way> {
    // Both backwards is the same as both forwards.
    let in_order = a.col.abs() == 1 && a.col == b.row;
    match (m, n, k) {
        (_, _, 0..=2) => Some(Way::Outer),
        (1, 1, _) => Some(Way::Dots),
        (1, ..) if b.col == 1 => Some(Way::Multiples),
        (1, ..) if in_order => Some(Way::Dots),
        (_, 1, _) if in_order => Some(Way::Dots),
        (_, 1, _) if a.row == 1 => Some(Way::Multiples),
        _ if in_order && m * n <= DOTS => Some(Way::Dots),
        _ => None,
    }
}

/// Computes the product as `gemm` does, or returns false if it is none of those above. The operands hold what is read.
pub(super) fn product(size: [usize; 3], out: &mut [f32], accumulate: bool, a: Matrix, b: Matrix, parallel: bool) -> bool {
    let [m, n, k] = size;
    let Some(way) = way(size, &a, &b) else { return false };
    let out = &mut out[..m * n];
    if !accumulate {
        // A sum's first term keeps its sign of zero.
        out.fill(-0.0);
    }
    let parallel = parallel && (m * n).saturating_mul(k) >= WORK;
    // A column is the row of the transposed product.
    let (m, n, a, b) = if n == 1 { (1, m, b.transposed(), a.transposed()) } else { (m, n, a, b) };
    match way {
        Way::Outer => outer([m, n, k], out, a, b),
        Way::Multiples => {
            let part = |(i, out): (usize, &mut [f32])| multiples(k, out, a, b.columns_after(i * COLUMNS));
            if parallel {
                out.par_chunks_mut(COLUMNS).enumerate().for_each(part);
            } else {
                out.chunks_mut(COLUMNS).enumerate().for_each(part);
            }
        }
        Way::Dots if m == 1 && parallel => {
            out.par_chunks_mut(DOTS_OF_TASK).enumerate().for_each(|(i, out)| dots(k, out, a, b.columns_after(i * DOTS_OF_TASK)));
        }
        Way::Dots => {
            for (row, out) in out.chunks_mut(n).enumerate() {
                dots(k, out, Matrix { offset: a.offset + row as i64 * a.row, ..a }, b);
            }
        }
    }
    true
}

/// `out[i][j] += Σ_k a[i][k] · b[k][j]` over one or two k.
fn outer([_, n, k]: [usize; 3], out: &mut [f32], a: Matrix, b: Matrix) {
    for (row, out) in out.chunks_mut(n).enumerate() {
        for term in 0..k {
            let x = a.at(row, term);
            if b.col == 1 {
                let line = b.line(term, n);
                vectorize(
                    #[inline(always)]
                    || out.iter_mut().zip(line).for_each(|(o, &y)| *o += x * y),
                );
            } else {
                out.iter_mut().enumerate().for_each(|(j, o)| *o += x * b.at(term, j));
            }
        }
    }
}

/// `out[j] += Σ_k a[0][k] · b[k][j]`, four rows of b at a time.
fn multiples(k: usize, out: &mut [f32], a: Matrix, b: Matrix) {
    let n = out.len();
    let fours = k / 4 * 4;
    for t in (0..fours).step_by(4) {
        let x: [f32; 4] = std::array::from_fn(|i| a.at(0, t + i));
        let y: [&[f32]; 4] = std::array::from_fn(|i| b.line(t + i, n));
        vectorize(
            #[inline(always)]
            || {
                let [y0, y1, y2, y3] = y;
                for ((((o, &y0), &y1), &y2), &y3) in out.iter_mut().zip(y0).zip(y1).zip(y2).zip(y3) {
                    *o += (x[0] * y0 + x[1] * y1) + (x[2] * y2 + x[3] * y3);
                }
            },
        );
    }
    for t in fours..k {
        let (x, y) = (a.at(0, t), b.line(t, n));
        vectorize(
            #[inline(always)]
            || out.iter_mut().zip(y).for_each(|(o, &y)| *o += x * y),
        );
    }
}

/// `out[j] += Σ_k a[0][k] · b[k][j]`.
fn dots(k: usize, out: &mut [f32], a: Matrix, b: Matrix) {
    if a.col.abs() != 1 || a.col != b.row {
        // One element of scattered factors: they are brought together.
        for (j, o) in out.iter_mut().enumerate() {
            for first in (0..k).step_by(BLOCK) {
                let len = BLOCK.min(k - first);
                let (mut x, mut y) = ([0.0; BLOCK], [0.0; BLOCK]);
                (0..len).for_each(|t| (x[t], y[t]) = (a.at(0, first + t), b.at(first + t, j)));
                *o += vectorize(
                    #[inline(always)]
                    || dot(&x[..len], &y[..len]),
                );
            }
        }
        return;
    }
    // From the lower end in memory.
    let back = if a.col < 0 { k as i64 - 1 } else { 0 };
    let x = Matrix { offset: a.offset - back, ..a }.line(0, k);
    let columns = Matrix { offset: b.offset - back, ..b }.transposed();
    vectorize(
        #[inline(always)]
        || {
            let (fours, rest) = out.as_chunks_mut::<4>();
            let whole = 4 * fours.len();
            for (i, out) in fours.iter_mut().enumerate() {
                let sums = dot_of_four(x, std::array::from_fn(|q| columns.line(4 * i + q, k)));
                out.iter_mut().zip(sums).for_each(|(o, sum)| *o += sum);
            }
            for (i, o) in rest.iter_mut().enumerate() {
                *o += dot(x, columns.line(whole + i, k));
            }
        },
    );
}

/// `lanes[l] + x[l] * y[l]`.
#[inline(always)]
fn added(lanes: [f32; LANES], x: &[f32; LANES], y: &[f32; LANES]) -> [f32; LANES] {
    std::array::from_fn(|l| lanes[l] + x[l] * y[l])
}

/// The sum of the lanes after the last few terms.
#[inline(always)]
fn finished(mut lanes: [f32; LANES], x: &[f32], y: &[f32]) -> f32 {
    for ((lane, &x), &y) in lanes.iter_mut().zip(x).zip(y) {
        *lane += x * y;
    }
    pairwise(&lanes)
}

/// The dot product: the sum of those of blocks, each of which is a sum of lanes.
#[inline(always)]
fn dot(x: &[f32], y: &[f32]) -> f32 {
    let (mut sum, mut at) = (-0.0, 0);
    while at < x.len() {
        let len = BLOCK.min(x.len() - at);
        let (x, x_rest) = x[at..at + len].as_chunks::<LANES>();
        let (y, y_rest) = y[at..at + len].as_chunks::<LANES>();
        let mut lanes = [-0.0; LANES];
        for (x, y) in x.iter().zip(y) {
            lanes = added(lanes, x, y);
        }
        sum += finished(lanes, x_rest, y_rest);
        at += len;
    }
    sum
}

/// The same for four y at once. A variable for each keeps its lanes in registers; in an array of them they go through memory.
#[inline(always)]
fn dot_of_four(x: &[f32], y: [&[f32]; 4]) -> [f32; 4] {
    let (mut sums, mut at) = ([-0.0; 4], 0);
    while at < x.len() {
        let len = BLOCK.min(x.len() - at);
        let (x, x_rest) = x[at..at + len].as_chunks::<LANES>();
        let [p, q, r, s] = y.map(|y| y[at..at + len].as_chunks::<LANES>());
        let (mut a, mut b, mut c, mut d) = ([-0.0; LANES], [-0.0; LANES], [-0.0; LANES], [-0.0; LANES]);
        for ((((x, p), q), r), s) in x.iter().zip(p.0).zip(q.0).zip(r.0).zip(s.0) {
            a = added(a, x, p);
            b = added(b, x, q);
            c = added(c, x, r);
            d = added(d, x, s);
        }
        let parts = [(a, p.1), (b, q.1), (c, r.1), (d, s.1)].map(|(lanes, y_rest)| finished(lanes, x_rest, y_rest));
        sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
        at += len;
    }
    sums
}

/// The sum of the lanes, halves added to halves.
#[inline(always)]
fn pairwise(lanes: &[f32; LANES]) -> f32 {
    let mut sums = *lanes;
    let mut half = LANES / 2;
    while half > 0 {
        for l in 0..half {
            sums[l] += sums[l + half];
        }
        half /= 2;
    }
    sums[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A matrix of so many columns from the last to the first.
    fn reversed(x: Matrix<'_>, cols: usize) -> Matrix<'_> {
        Matrix { offset: x.offset + (cols as i64 - 1) * x.col, col: -x.col, ..x }
    }

    /// Every way, forwards and backwards, against a plain sum in f64.
    #[test]
    fn products_agree_with_a_plain_sum() {
        let data: Vec<f32> = (0..40_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 8_388_608.0 - 1.0).collect();
        let mut ways = Vec::new();
        for [m, n, k] in [[1, 1, 1300], [1, 70, 130], [70, 1, 130], [16, 16, 37], [5, 7, 2], [5, 7, 1], [1, 1, 1], [3, 5, 600]] {
            for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
                for backwards in [false, true] {
                    let a = if ta { Matrix::rows_of(m, &data).transposed() } else { Matrix::rows_of(k, &data) };
                    let b = if tb { Matrix::rows_of(k, &data[7..]).transposed() } else { Matrix::rows_of(n, &data[7..]) };
                    let (a, b) = if backwards { (reversed(a, k), reversed(b.transposed(), k).transposed()) } else { (a, b) };
                    for accumulate in [false, true] {
                        let mut out = vec![0.5; m * n];
                        if !product([m, n, k], &mut out, accumulate, a, b, true) {
                            continue;
                        }
                        ways.extend(way([m, n, k], &a, &b));
                        for (i, &got) in out.iter().enumerate() {
                            let terms = (0..k).map(|t| f64::from(a.at(i / n, t)) * f64::from(b.at(t, i % n)));
                            let expected = terms.sum::<f64>() + if accumulate { 0.5 } else { 0.0 };
                            let what = format!("{m}x{n}x{k} {ta} {tb} {backwards} {accumulate}: element {i}");
                            assert!((f64::from(got) - expected).abs() < 2e-5, "{what} is {got}, not {expected}");
                        }
                    }
                }
            }
        }
        for way in [Way::Outer, Way::Multiples, Way::Dots] {
            assert!(ways.contains(&way), "no product went the way of {way:?}");
        }
    }
}
