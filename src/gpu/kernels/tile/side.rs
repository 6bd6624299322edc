//! How a side of a product comes into a tile: `shaders/tile_side.wgsl`.

use super::shape::DEPTH;
use crate::error::Result;
use crate::gpu::kernels::path::Path;
use crate::gpu::shader::Shader;

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
    /// Whether `{place}_jump`, which the text computes for each tile of the inner dimension, says where that begins; else one
    /// follows the other.
    pub jumps: bool,
    /// Whether the sums over the inner dimension of its lines are written.
    pub sums: bool,
    /// Text: the first line of the other side.
    pub other: &'static str,
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

    /// Whether neighbouring threads load neighbouring lines, so that the sums of a line are in few threads.
    pub fn can_sum(path: Path) -> bool {
        matches!(path, Path::Outer | Path::OuterScalars)
    }

    /// Its texts: where a thread's loads start, the loads of a tile, those of its last few steps, how they are stored, and how the
    /// sums of lines are written, if they are.
    pub fn texts(&self, threads: usize) -> Result<[String; 5]> {
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
            .set("MOVE", advance)
            .set("JUMPS", usize::from(self.jumps))
            .set("START", if self.jumps { "0u" } else { "k_first" })
            .set("SUMS", usize::from(self.sums))
            .set("SLOWS", if some > 0 { some / fast } else { threads / fast })
            .set("THREADS", threads)
            .set("OTHER", self.other);
        let [at, load, rest, store, sums] =
            ["at", "load", "rest", "store", "sums"].map(|part| shader.clone().set("PART", part).render("tile_side"));
        Ok([at?, load?, rest?, store?, if self.sums { sums? } else { String::new() }])
    }
}
