//! Tiles of a product in workgroup memory, for hardware GPUs: `shaders/common/tile*.wgsl` and `shaders/tile_side.wgsl`.

mod select;
mod shape;
mod side;

pub(crate) use select::{Kind, select};
pub(crate) use shape::{DEPTH, Tile};
pub(crate) use side::Side;
