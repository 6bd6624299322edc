//! The GPU executor: carries out plans through wgpu.

mod cancel;
pub(crate) mod compiled;
pub(crate) mod context;
pub(crate) mod executor;
pub(crate) mod expr;
pub(crate) mod kernels;
pub(crate) mod later;
mod loss;
pub(crate) mod math;
pub(crate) mod memory;
pub(crate) mod pipeline;
pub(crate) mod profile;
pub(crate) mod program;
pub(crate) mod readback;
pub(crate) mod run;
pub(crate) mod shader;
pub(crate) mod staging;
#[cfg(test)]
mod tests;

pub(crate) use compiled::Compiled;
pub(crate) use executor::GpuExecutor;
