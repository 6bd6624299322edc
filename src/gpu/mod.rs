//! The GPU executor: runs plans through wgpu.

pub(crate) mod adapters;
mod cancel;
pub(crate) mod compiled;
pub(crate) mod context;
pub(crate) mod download;
pub(crate) mod executor;
pub(crate) mod expr;
mod failure;
pub(crate) mod forms;
mod gate;
mod hollow;
pub(crate) mod kernels;
mod loss;
pub(crate) mod math;
pub(crate) mod memory;
pub(crate) mod model;
mod pace;
pub(crate) mod pipeline;
pub(crate) mod profile;
pub(crate) mod program;
mod proof;
mod queue;
pub(crate) mod quirks;
pub(crate) mod readback;
mod rooms;
pub(crate) mod run;
pub(crate) mod shader;
mod snippets;
pub(crate) mod staging;
mod stand_in;
#[cfg(test)]
mod tests;
mod timestamps;
mod wait;
mod watch;

pub(crate) use compiled::Compiled;
pub(crate) use executor::GpuExecutor;
