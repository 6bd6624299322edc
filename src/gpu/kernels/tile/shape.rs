//! What a workgroup and its threads compute.

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
