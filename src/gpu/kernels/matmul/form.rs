//! What the variants of a product are, and what their texts have in common.

use crate::gpu::kernels::path::Path;
use crate::gpu::kernels::tile::Tile;
use crate::gpu::shader::Shader;
use crate::plan::MatMul;

/// A way to compute a product. Each has a file here, and is listed in [`FORCED`](super::FORCED).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// Register tiles, without workgroup memory.
    Register {
        /// Rows and columns that a thread computes: multiples of 4.
        tile: [usize; 2],
        /// Threads of a workgroup along rows and columns.
        lanes: [usize; 2],
        /// Parts that the inner dimension is cut into.
        splits: usize,
    },
    /// Tiles in workgroup memory.
    Tiled {
        /// What a workgroup computes.
        tile: Tile,
        /// Parts that the inner dimension is cut into.
        splits: usize,
    },
    /// A reduction of products of elements, for a result of one row or column.
    Reduction,
}

/// The text of a variant for a product, but for what all variants share.
pub(super) struct Form {
    /// Its file in `shaders/`, its name in profiles, and its holes.
    pub file: &'static str,
    pub name: String,
    pub shader: Shader,
    /// Rows and columns that a workgroup computes.
    pub block: [usize; 2],
    /// Steps of the inner dimension of which a part is made.
    pub depth: usize,
    /// Neighbours that a thread writes together: 4 or 1.
    pub writes: usize,
    /// Whether it writes the sums of an operand's lines, which are then the binding `sums`.
    pub sums: bool,
}

/// The most neighbours that fit the rows of a product.
pub(super) fn widest(mm: &MatMul) -> usize {
    if mm.n.is_multiple_of(4) { 4 } else { 1 }
}

/// How lhs is read.
pub(super) fn lhs_path(mm: &MatMul) -> Path {
    Path::of(&mm.a, (mm.a.col, mm.k), (mm.a.row, mm.m))
}

/// How rhs is read.
pub(super) fn rhs_path(mm: &MatMul) -> Path {
    Path::of(&mm.b, (mm.b.row, mm.k), (mm.b.col, mm.n))
}
