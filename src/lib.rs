//! A tensor engine that trains neural networks on any GPU.

pub mod autodiff;
pub(crate) mod cpu;
pub mod data;
pub mod device;
pub mod dtype;
pub mod error;
pub(crate) mod eval;
pub(crate) mod gpu;
pub mod graph;
pub mod io;
pub mod nn;
pub mod optim;
pub mod param;
pub mod plan;
pub mod rng;
pub mod shape;
pub mod tensor;
pub mod train;

pub use autodiff::{Differentiable, Gradients, grad};
pub use device::{Counters, Device, DeviceInfo, DeviceKind, DeviceOptions};
pub use dtype::{DType, Element, HostData};
pub use error::{Error, Result};
pub use param::Param;
pub use rng::Generator;
pub use shape::{IntoAxes, IntoShape, Shape};
pub use tensor::node::no_grad;
pub use tensor::{ConvOptions, PoolOptions, Tensor};

/// Rates of single GPU kernels, for this crate's own benchmarks.
#[cfg(feature = "lab")]
#[doc(hidden)]
pub mod lab {
    pub use crate::gpu::kernels::lab::rates::print;
}

/// The README's code runs as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
