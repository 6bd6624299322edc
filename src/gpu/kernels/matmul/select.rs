//! Which variant computes a product: the one with the lowest estimated cost. Estimates are pure functions of shapes, so reruns are
//! bit-identical.

use super::form::Variant;
use crate::gpu::kernels::source::MAX_LOOP;
use crate::gpu::kernels::tile::{self, Tile};
use crate::gpu::program::{Caps, UNROLLED};
use crate::plan::MatMul;
use crate::shape::MAX_RANK;

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
    let (m, n, k) = (mm.m, mm.n, mm.k);
    if (m == 1 || n == 1) && k > 0 && mm.batch.rank() + 3 <= MAX_RANK {
        return Variant::Reduction;
    }
    match tile::select(tile::Kind::Product, [m, n, k], mm.batch.numel(), &TILED, caps) {
        Some((tile, splits)) => Variant::Tiled { tile, splits },
        // Less than WebGPU's defaults.
        None => Variant::Register { tile: [4, 4], lanes: [8, 8], splits: k.div_ceil(4 * MAX_LOOP).max(1) },
    }
}
