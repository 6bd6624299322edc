//! Which tile computes a product on hardware: the one with the lowest estimated cost. Estimates are pure functions of shapes, so
//! reruns are bit-identical.

use super::shape::{DEPTH, Tile};
use crate::gpu::kernels::assumed::{BYTES, LANES, LAUNCH, MULTIPROCESSORS};
use crate::gpu::kernels::source::MAX_LOOP;
use crate::gpu::program::Caps;

/// Threads with which a multiprocessor reaches its rate. Products need fewer with 64 multiply-adds of each thread under way;
/// convolutions compute addresses between, and below 64 by 128 they load more per multiply-add than they gain.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Product,
    Convolution,
}

impl Kind {
    fn threads(self, tile: &Tile) -> f64 {
        match (self, tile.thread) {
            (Self::Product, [8, 8]) => 384.0,
            _ => 512.0,
        }
    }
}

/// Clocks per part in the second pass, which adds them one after the other.
const PART: f64 = 20.0;

/// Steps of the inner dimension that a workgroup's start and end are worth.
const ENDS: f64 = 48.0;

/// Products of a GFLOP or more use at least so many workgroups.
const WORKGROUPS: usize = 256;
const LARGE: usize = 500_000_000;

/// The parts that the inner dimension may be cut into.
const PARTS: [usize; 18] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512];

/// So many of the largest tiles fill a device.
const FILLED: usize = 128;

/// The tile with the lowest estimated cost for `batches` products of these rows, columns and steps, and the parts that the inner
/// dimension is cut into: the largest of those given, with their shares, that still fills the device. None fits a device with less
/// than WebGPU's defaults.
pub(crate) fn select(
    kind: Kind,
    [m, n, k]: [usize; 3],
    batches: usize,
    given: &[(Tile, f64)],
    caps: &Caps,
) -> Option<(Tile, usize)> {
    let large = m.saturating_mul(n).saturating_mul(k).saturating_mul(batches) >= LARGE;
    let most = k.div_ceil(4 * DEPTH).clamp(1, PARTS[PARTS.len() - 1]);
    let least = k.div_ceil(DEPTH * MAX_LOOP);
    let groups_of = |tile: &Tile| m.div_ceil(tile.rows) * n.div_ceil(tile.columns) * batches;
    // The share of the multiply-adds that are the product's own.
    let useful =
        |tile: &Tile| m as f64 * n as f64 * batches as f64 / (groups_of(tile) as f64 * tile.rows as f64 * tile.columns as f64);
    let mut fits: Vec<(Tile, f64)> = given.iter().filter(|(tile, _)| tile.fits(caps)).copied().collect();
    match fits.first() {
        Some((largest, _)) if groups_of(largest) >= FILLED && useful(largest) >= 0.9 => fits.truncate(1),
        // A quarter of padding at most, or about the least there is.
        _ => {
            let most = fits.iter().map(|(tile, _)| useful(tile)).fold(0.0, f64::max);
            fits.retain(|(tile, _)| useful(tile) >= (0.9 * most).min(0.75));
        }
    }
    let mut best: Option<(f64, Tile, usize)> = None;
    for (tile, share) in fits {
        let groups = groups_of(&tile);
        for splits in PARTS.into_iter().filter(|&p| p <= most).map(|p| p.max(least)) {
            if large && groups * splits < WORKGROUPS && splits < most {
                continue;
            }
            let at_once = kind.threads(&tile) / tile.threads() as f64;
            let rounds = ((groups * splits) as f64 / (MULTIPROCESSORS * at_once)).max(1.0);
            let steps = k.div_ceil(splits).next_multiple_of(DEPTH) as f64 + ENDS;
            let first = rounds * at_once * (tile.rows * tile.columns) as f64 * steps / (LANES * share);
            let results = ((splits + 1) * m * n * batches * 4) as f64;
            let second = if splits > 1 { results / BYTES + LAUNCH + splits as f64 * PART } else { 0.0 };
            if best.is_none_or(|(cost, ..)| first + second < cost) {
                best = Some((first + second, tile, splits));
            }
        }
    }
    best.map(|(_, tile, splits)| (tile, splits))
}
