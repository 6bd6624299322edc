//! Optimizers: fused, multi-tensor, one dispatch for all parameters.

pub(crate) mod store;
