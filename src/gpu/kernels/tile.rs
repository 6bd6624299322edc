//! Tiles of a product in workgroup memory, for hardware GPUs: `shaders/common/tile*.wgsl` and `shaders/tile_side.wgsl`.

use super::path::Path;
use super::source::MAX_LOOP;
use crate::error::Result;
use crate::gpu::program::Caps;
use crate::gpu::shader::Shader;

/// Steps of the inner dimension in a tile: with 16, unrolled, NVIDIA's compiler needs more than 128 registers.
pub(crate) const DEPTH: usize = 8;

/// Elements by which a line of a tile is padded.
const PADDING: usize = 4;

/// What a workgroup computes of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Tile {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// Rows and columns of a thread: multiples of 4.
    pub thread: [usize; 2],
}

impl Tile {
    /// A tile of 8 by 8 per thread.
    pub const fn of_eights(rows: usize, columns: usize) -> Self {
        Self { rows, columns, thread: [8, 8] }
    }

    /// A tile of 4 by 4 per thread.
    pub const fn of_fours(rows: usize, columns: usize) -> Self {
        Self { rows, columns, thread: [4, 4] }
    }

    /// A tile of 4 by 8 per thread.
    pub const fn narrow(rows: usize, columns: usize) -> Self {
        Self { rows, columns, thread: [4, 8] }
    }

    /// Threads along the rows and the columns. 32 neighbours are a block of 4 by 8, or of fewer rows.
    fn lanes(&self) -> [usize; 2] {
        [self.rows / self.thread[0], self.columns / self.thread[1]]
    }

    /// Threads of a workgroup.
    pub fn threads(&self) -> usize {
        self.lanes().iter().product()
    }

    /// Bytes of workgroup memory.
    pub const fn memory(&self) -> usize {
        4 * DEPTH * (self.rows + self.columns + 2 * PADDING)
    }

    /// Whether a device has the threads and the memory.
    pub fn fits(&self, caps: &Caps) -> bool {
        self.threads() <= caps.max_invocations as usize && self.memory() <= caps.workgroup_memory as usize
    }

    /// Fills the holes of `tile`, `tile_sums` and `tile_step`.
    pub fn fill(&self, shader: Shader, caps: &Caps) -> Shader {
        let ([lanes_m, lanes_n], [tm, tn]) = (self.lanes(), self.thread);
        shader
            .set("BM", self.rows)
            .set("BN", self.columns)
            .set("BK", DEPTH)
            .set("TM", tm)
            .set("TN", tn)
            .set("TM4", tm / 4)
            .set("TN4", tn / 4)
            .set("TY", lanes_m)
            .set("TX", lanes_n)
            .set("LY", lanes_m.min(4))
            .set("LX", 32 / lanes_m.min(4))
            .set("BLOCKS", lanes_n * lanes_m.min(4) / 32)
            .set("LANES", self.threads())
            .set("SHORT", usize::from(caps.short_texts()))
    }
}

/// A side of a product.
pub(crate) struct Side {
    /// `a` or `b`: the side's place in the tile.
    pub place: &'static str,
    /// The name of its buffer, and the start of `{name}_base`.
    pub from: &'static str,
    /// What its lines are called in comments.
    pub lines_are: &'static str,
    /// The lines of a tile.
    pub lines: usize,
    /// Texts: the first line, how many lines there are, and the distances of lines and of steps in memory.
    pub first: &'static str,
    pub edge: &'static str,
    pub line: &'static str,
    pub step: &'static str,
    /// How it is read.
    pub path: Path,
}

/// What a thread loads of a side.
pub(crate) struct Loads {
    /// Threads along the direction in which neighbours read neighbouring memory.
    pub fast: usize,
    /// Text: the thread's place along the other direction.
    pub slow: String,
    /// Loads of a thread, and how far apart they are along that direction.
    pub count: usize,
    pub apart: usize,
    /// How many threads store what they load; 0 for all.
    some: usize,
}

impl Side {
    /// How a workgroup of so many threads loads it.
    pub fn loads(&self, threads: usize) -> Loads {
        let vectors = self.lines * DEPTH / 4;
        let (fast, all) = match self.path {
            Path::Inner => (DEPTH / 4, vectors),
            Path::Outer => (self.lines / 4, vectors),
            Path::InnerScalars => (DEPTH, 4 * vectors),
            Path::OuterScalars => (self.lines, 4 * vectors),
        };
        // Threads in excess load what the last ones do, and do not store it.
        let some = if all < threads { all } else { 0 };
        let slow = if some > 0 { format!("min(lane / {fast}u, {}u)", all / fast - 1) } else { format!("lane / {fast}u") };
        Loads { fast, slow, count: all.div_ceil(threads), apart: threads / fast, some }
    }

    /// Its texts: where a thread's loads start, the loads of a tile, those of its last few steps, and how they are stored.
    pub fn texts(&self, threads: usize) -> Result<[String; 4]> {
        let Loads { fast, slow, count, apart, some } = self.loads(threads);
        let place = self.place;
        let (step_of, step_apart, advance) = match self.path {
            Path::Inner => (format!("4u * {place}_fast"), 0, format!("{}u", DEPTH / 4)),
            Path::Outer => (format!("{place}_slow"), apart, format!("{}u * {}", DEPTH / 4, self.step)),
            Path::InnerScalars => (format!("{place}_fast"), 0, format!("{DEPTH}u * {}", self.step)),
            Path::OuterScalars => (format!("{place}_slow"), apart, format!("{DEPTH}u * {}", self.step)),
        };
        let shader = Shader::new()
            .set("S", place)
            .set("FROM", self.from)
            .set("LINE_NAME", self.lines_are)
            .set("LINES", self.lines)
            .set("FIRST", self.first)
            .set("EDGE", self.edge)
            .set("LINE", self.line)
            .set("STEP", self.step)
            .set("BK", DEPTH)
            .set("PATH", self.path.code())
            .set("TYPE", self.path.element())
            .set("FAST", fast)
            .set("SLOW", slow)
            .set("SOME", some)
            .set("LOADS", count)
            .set("APART", apart)
            .set("K_OF", step_of)
            .set("K_APART", step_apart)
            .set("MOVE", advance);
        let [at, load, rest, store] =
            ["at", "load", "rest", "store"].map(|part| shader.clone().set("PART", part).render("tile_side"));
        Ok([at?, load?, rest?, store?])
    }
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

/// The tile with the lowest estimated cost for `batches` products of these rows, columns and steps, and the parts that the inner
/// dimension is cut into: the largest of those given, with their shares, that still fills the device. None fits a device with less
/// than WebGPU's defaults.
pub(crate) fn select([m, n, k]: [usize; 3], batches: usize, given: &[(Tile, f64)], caps: &Caps) -> Option<(Tile, usize)> {
    let large = m.saturating_mul(n).saturating_mul(k).saturating_mul(batches) >= LARGE;
    let most = k.div_ceil(4 * DEPTH).clamp(1, WORKGROUPS);
    let least = k.div_ceil(DEPTH * MAX_LOOP);
    let groups_of = |tile: &Tile| m.div_ceil(tile.rows) * n.div_ceil(tile.columns) * batches;
    // So many of the largest tiles fill a device, where they are not padding for the most part.
    let (largest, _) = given.first()?;
    let tiles = groups_of(largest);
    let filled = tiles >= FILLED && 10 * m * n * batches >= 9 * tiles * largest.rows * largest.columns;
    let given = if filled && largest.fits(caps) { &given[..1] } else { given };
    let mut best: Option<(f64, Tile, usize)> = None;
    for &(tile, share) in given.iter().filter(|(tile, _)| tile.fits(caps)) {
        let groups = groups_of(&tile);
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
            if best.is_none_or(|(cost, ..)| first + second < cost) {
                best = Some((first + second, tile, splits));
            }
        }
    }
    best.map(|(_, tile, splits)| (tile, splits))
}
