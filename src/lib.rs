//! A tensor engine that trains neural networks on any GPU.
pub(crate) mod cpu;
pub mod dtype;
pub mod error;
pub(crate) mod gpu;
pub mod graph;
pub mod optim;
pub mod plan;
pub mod rng;
pub mod shape;
