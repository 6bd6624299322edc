//! Maximum pooling over windows of H rows and W columns that lie side by side, without padding: no element is in two of them.

use crate::cpu::simd::vectorize;
use crate::math::fast;

/// H lines of an image, as tiles' rows of W.
#[inline(always)]
fn lines<const H: usize, const W: usize>(x: &[f32], width: usize, tiles: usize) -> [&[[f32; W]]; H] {
    std::array::from_fn(|h| &x[h * width..][..width].as_chunks::<W>().0[..tiles])
}

/// The largest element of each tile; `x` has a width, `y` a number of columns.
pub(super) fn max<const H: usize, const W: usize>(x: &[f32], width: usize, y: &mut [f32], columns: usize) {
    vectorize(
        #[inline(always)]
        || {
            for (x, line) in x.chunks_exact(H * width).zip(y.chunks_exact_mut(columns)) {
                let x = lines::<H, W>(x, width, columns);
                for (i, y) in line.iter_mut().enumerate() {
                    let rows = x.map(|line| line[i]);
                    *y = rows.as_flattened()[1..].iter().fold(rows[0][0], |largest, &x| fast::maximum(largest, x));
                }
            }
        },
    );
}

/// Gives `dy` to the largest element of each tile, the first NaN or else the first of the largest, and 0 to all others.
pub(super) fn scatter<const H: usize, const W: usize>(x: &[f32], width: usize, dy: &[f32], columns: usize, dx: &mut [f32]) {
    // What is in no tile.
    dx[dy.len() / columns * H * width..].fill(0.0);
    vectorize(
        #[inline(always)]
        || {
            for ((x, dx), dy) in x.chunks_exact(H * width).zip(dx.chunks_exact_mut(H * width)).zip(dy.chunks_exact(columns)) {
                let x = lines::<H, W>(x, width, columns);
                let mut rest = dx;
                let mut dx: [&mut [[f32; W]]; H] = std::array::from_fn(|_| {
                    let (line, after) = std::mem::take(&mut rest).split_at_mut(width);
                    rest = after;
                    line[columns * W..].fill(0.0);
                    &mut line.as_chunks_mut::<W>().0[..columns]
                });
                for (i, &dy) in dy.iter().enumerate() {
                    let rows = x.map(|line| line[i]);
                    let (mut largest, mut at) = (rows[0][0], 0u32);
                    for (n, &x) in (0..).zip(rows.as_flattened()) {
                        let wins = (x > largest) | (x.is_nan() & !largest.is_nan());
                        largest = if wins { x } else { largest };
                        at = if wins { n } else { at };
                    }
                    let given: [[f32; W]; H] =
                        std::array::from_fn(|h| std::array::from_fn(|w| if at as usize == h * W + w { dy } else { 0.0 }));
                    for (line, given) in dx.iter_mut().zip(given) {
                        line[i] = given;
                    }
                }
            }
        },
    );
}
