//! The GPU executor: carries out plans through wgpu.

pub(crate) mod expr;
pub(crate) mod kernels;
pub(crate) mod math;
pub(crate) mod program;

/// A range of GPU memory. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Buffer {}
