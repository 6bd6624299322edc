//! Which variant computes a product: the one with the lowest estimated cost. Estimates are pure functions of shapes, so reruns are
//! bit-identical.

use super::Variant;
use crate::gpu::kernels::source::MAX_LOOP;
use crate::gpu::kernels::tile::{DEPTH, Tile};
use crate::gpu::program::{Caps, UNROLLED};
use crate::plan::MatMul;

/// The variant for a shape.
pub(crate) fn select(mm: &MatMul, caps: &Caps) -> Variant {
    if caps.software { software(mm, caps) } else { hardware(mm, caps) }
}

/// On the host's cores, the unit is about a clock cycle of a vector of 8 threads on lavapipe, where a load costs as much as 20
/// multiply-adds.
const LOAD: f64 = 30.0;
const FMA: f64 = 1.5;

/// Workgroups that keep the host's cores busy.
const CORES_BUSY: usize = 16;

/// Register tiles: without workgroup memory and barriers, which are loops over the threads of a workgroup there.
fn software(mm: &MatMul, caps: &Caps) -> Variant {
    const TILES: [[usize; 2]; 4] = [[8, 8], [8, 16], [4, 8], [4, 4]];
    const LANES: [[usize; 2]; 3] = [[8, 1], [1, 8], [2, 4]];
    // The widest tile takes twice as long to compile; only a large product earns that back.
    let large = mm.m * mm.n * mm.k * mm.batch.numel() >= 1 << 25;
    let compiles = |tile: &[usize; 2]| (large || tile[1] < 16) && (caps.unrolled >= UNROLLED || *tile == [4, 4]);
    let mut best = (f64::INFINITY, Variant::Register { tile: [4, 4], lanes: LANES[0], splits: 1 });
    for tile in TILES.into_iter().filter(compiles) {
        for lanes in LANES {
            let (cost, splits) = register_cost(mm, tile, lanes);
            if cost < best.0 {
                best = (cost, Variant::Register { tile, lanes, splits });
            }
        }
    }
    best.1
}

/// The estimated cost of register tiles on the host's cores, and the parts that they cut the inner dimension into.
fn register_cost(mm: &MatMul, [tm, tn]: [usize; 2], [lm, ln]: [usize; 2]) -> (f64, usize) {
    let (m, n, k, batches) = (mm.m, mm.n, mm.k, mm.batch.numel());
    let groups = m.div_ceil(tm * lm) * n.div_ceil(tn * ln) * batches;
    // Split the inner dimension when too few workgroups are there, but keep parts worth a launch.
    let wanted = if groups * 2 > CORES_BUSY { 1 } else { (CORES_BUSY / groups).min(k / 128).max(1) };
    let splits = wanted.max(k.div_ceil(4 * MAX_LOOP));
    let vectors = (lm * ln).div_ceil(8) as f64;
    let steps = k.div_ceil(splits) as f64 / 4.0;
    let thread = steps * ((tm + tn) as f64 * LOAD + (4 * tm * tn) as f64 * FMA) + (tm * tn) as f64 * LOAD;
    let second = if splits > 1 { ((splits + 1) * m * n * batches) as f64 / 8.0 * LOAD + 20_000.0 } else { 0.0 };
    (thread * vectors * (groups * splits).max(CORES_BUSY) as f64 + second, splits)
}

/// A hardware GPU, where it matters for a choice: multiprocessors (wgpu does not say), multiply-adds of each per clock, threads
/// with which it reaches them, bytes of all per clock, and clocks that a further launch takes.
const MULTIPROCESSORS: f64 = 64.0;
const LANES: f64 = 128.0;
const THREADS: f64 = 512.0;
const BYTES: f64 = 1000.0;
const LAUNCH: f64 = 4000.0;

/// Steps of the inner dimension that a workgroup's start and end are worth.
const ENDS: f64 = 48.0;

/// Products of a GFLOP or more use at least so many workgroups.
const WORKGROUPS: usize = 256;
const LARGE: usize = 500_000_000;

/// The parts that the inner dimension may be cut into.
const PARTS: [usize; 16] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256];

/// The largest tiles that fill a device.
const FILLED: usize = 128;

/// Tiles on hardware, the largest first, and their share of multiply-adds in what multiprocessors issue, read off compiled kernels.
const TILED: [(Tile, f64); 5] = [
    (Tile::of_eights(128, 128), 0.96),
    (Tile::of_eights(128, 64), 0.93),
    (Tile::of_eights(64, 128), 0.93),
    (Tile::of_eights(64, 64), 0.91),
    (Tile::of_fours(32, 32), 0.6),
];

/// The largest tile that still fills the device, with the inner dimension split where there are too few.
fn hardware(mm: &MatMul, caps: &Caps) -> Variant {
    let (m, n, k, batches) = (mm.m, mm.n, mm.k, mm.batch.numel());
    if (m == 1 || n == 1) && k > 0 && mm.batch.rank() + 3 <= crate::shape::MAX_RANK {
        return Variant::Reduction;
    }
    let large = m.saturating_mul(n).saturating_mul(k).saturating_mul(batches) >= LARGE;
    let most = k.div_ceil(4 * DEPTH).clamp(1, WORKGROUPS);
    let least = k.div_ceil(4 * MAX_LOOP);
    // So many of the largest tiles fill a device, where they are not padding for the most part.
    let [(largest, _), ..] = TILED;
    let tiles = m.div_ceil(largest.rows) * n.div_ceil(largest.columns) * batches;
    let filled = tiles >= FILLED && 10 * m * n * batches >= 9 * tiles * largest.rows * largest.columns;
    let tiled = if filled && largest.fits(caps) { &TILED[..1] } else { &TILED[..] };
    let mut best = (f64::INFINITY, Variant::Register { tile: [4, 4], lanes: [8, 8], splits: least.max(1) });
    for &(tile, share) in tiled.iter().filter(|(tile, _)| tile.fits(caps)) {
        let groups = m.div_ceil(tile.rows) * n.div_ceil(tile.columns) * batches;
        for splits in PARTS.into_iter().filter(|&p| p <= most).map(|p| p.max(least)) {
            if large && groups * splits < WORKGROUPS && splits < most {
                continue;
            }
            let at_once = THREADS / tile.threads() as f64;
            let rounds = ((groups * splits) as f64 / (MULTIPROCESSORS * at_once)).max(1.0);
            let steps = k.div_ceil(splits).next_multiple_of(DEPTH) as f64 + ENDS;
            let first = rounds * at_once * (tile.rows * tile.columns) as f64 * steps / (LANES * share);
            let results = ((splits + 1) * m * n * batches * 4) as f64;
            let second = if splits > 1 { results / BYTES + LAUNCH } else { 0.0 };
            if first + second < best.0 {
                best = (first + second, Variant::Tiled { tile, splits });
            }
        }
    }
    best.1
}
