//! Tiles of a product in workgroup memory, for hardware GPUs: `shaders/common/tile*.wgsl` and `shaders/tile_side.wgsl`.

use super::path::Path;
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

    /// Threads along the rows and the columns: multiples of 4 and 8.
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
            .set("TX8", lanes_n / 8)
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

impl Side {
    /// Its texts: where a thread's loads start, the loads of a tile, those of its last few steps, and how they are stored.
    pub fn texts(&self, threads: usize) -> Result<[String; 4]> {
        let vectors = self.lines * DEPTH / 4 / threads;
        // Loads along the fast direction, and loads per thread.
        let (fast, loads) = match self.path {
            Path::Inner => (DEPTH / 4, vectors),
            Path::Outer => (self.lines / 4, vectors),
            Path::InnerScalars => (DEPTH, 4 * vectors),
            Path::OuterScalars => (self.lines, 4 * vectors),
        };
        let apart = threads / fast;
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
            .set("LOADS", loads)
            .set("APART", apart)
            .set("K_OF", step_of)
            .set("K_APART", step_apart)
            .set("MOVE", advance);
        let [at, load, rest, store] =
            ["at", "load", "rest", "store"].map(|part| shader.clone().set("PART", part).render("tile_side"));
        Ok([at?, load?, rest?, store?])
    }
}
