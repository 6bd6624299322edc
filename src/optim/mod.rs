//! Optimizers: fused, multi-tensor, one dispatch for all parameters.

pub mod core;
pub mod store;
