//! A tensor engine that trains neural networks on any GPU.
//!
//! WGSL compute shaders do the work, through wgpu on Vulkan, Metal or DX12: no CUDA. A CPU device runs the same programs and is the
//! reference that every kernel is tested against. Names, layouts and defaults are PyTorch's; whatever goes wrong is reported as a
//! [`Result`], not a panic.
//!
//! ```
//! use wgrad::prelude::*;
//!
//! fn main() -> Result<()> {
//!     let device = Device::best()?; // a GPU, else the CPU device
//!     let init = Init::new(&device, 42);
//!     let model = sequential![Linear::new(2, 32, &init)?, Relu, Linear::new(32, 2, &init)?];
//!     let mut adam = Adam::new(&model.parameters()?, AdamConfig { lr: 0.01, ..AdamConfig::default() })?;
//!
//!     // Which of a point's two coordinates is larger?
//!     let x = Tensor::randn([256, 2], &Generator::new(7), &device)?;
//!     let labels = x.argmax_dim(1);
//!     for step in 0..100 {
//!         let loss = model.forward(&x)?.cross_entropy(&labels); // builds a graph, computes nothing
//!         adam.step(loss.backward()?)?; // computes: one compiled plan, one submission, no wait
//!         if step % 50 == 0 {
//!             println!("step {step}: loss {:.3}", loss.item()?); // reading a value waits
//!         }
//!     }
//!     let right = accuracy(&model.forward(&x)?, &labels)?.item()?;
//!     assert!(right > 0.9, "{right}");
//!     Ok(())
//! }
//! ```
//!
//! # Where things are
//!
//! | module | what is in it | in PyTorch |
//! |---|---|---|
//! | [`tensor`] | [`Tensor`]: its page lists every op by subject | `torch`, `torch.Tensor`, `torch.nn.functional` |
//! | [`nn`] | layers, [`Module`](nn::Module), [`Sequential`](nn::Sequential), initial values, ready models, transfer | `torch.nn`, `torchvision.models` |
//! | [`nn::loss`] | losses | `torch.nn.functional` |
//! | [`optim`] | optimizers, schedules, loss scaling, averaged weights | `torch.optim`, `torch.amp` |
//! | [`data`] | batches, images, text, sound, augmentation on the device | `torch.utils.data`, `torchvision`, `torchaudio` |
//! | [`train`] | metrics, early stopping, curves, checkpoints | Lightning, `torchmetrics` |
//! | [`autodiff`] | [`Gradients`], [`grad`], clipping | `torch.autograd` |
//! | [`param`] | [`Param`], parameter groups | `torch.nn.Parameter` |
//! | [`io`] | safetensors files, state dicts | `torch.save`, `safetensors` |
//! | [`device`] | [`Device`], cache limits, counters | `torch.device`, `torch.cuda` |
//! | [`dtype`], [`shape`], [`rng`], [`error`] | element types, shapes, [`Generator`], [`Error`] | `torch.dtype`, `torch.Size`, `torch.Generator` |
//! | [`prelude`] | what most programs import | |
//!
//! # The guide
//!
//! [`guide`] leads from a first tensor to a fine-tuned model:
//! [tensors](guide::tensors), [gradients](guide::gradients), [layers and modules](guide::modules),
//! [losses and optimizers](guide::optimizers), [data](guide::data), [the training loop](guide::training),
//! [against overfitting](guide::overfitting), [transfer learning](guide::transfer), [speed](guide::speed).
//!
//! To look things up: [from PyTorch to wgrad](guide::pytorch), a table of names; [sharp bits](guide::sharp_bits), what may surprise.
//!
//! # How it works
//!
//! ```text
//! Tensor ops  ->  Graph  ->  key -> [plan cache] -> Plan  ->  GPU executor | CPU executor
//! (lazy          (canonical,                       (fused kernels,   (one compute pass
//!  handles)       no values)                        slots, levels)    per submission)
//! ```
//!
//! An op builds a node of a graph. An evaluation looks the graph's structure up in a cache of compiled plans and runs the plan,
//! so an ordinary imperative loop compiles once. [The architecture](guide::architecture) explains the rest:
//! [when work happens](guide::architecture#when-work-happens), [memory](guide::architecture#memory),
//! [when the caller waits](guide::architecture#when-the-caller-waits),
//! [what is deterministic](guide::architecture#randomness-and-determinism),
//! [deviations from PyTorch](guide::architecture#deviations-from-pytorch), [error budgets](guide::architecture#numerics).

#![cfg_attr(not(feature = "gpu"), allow(dead_code, reason = "a part of what planning offers is for GPUs alone"))]
#![cfg_attr(test, allow(clippy::cast_possible_truncation, reason = "tests know their numbers"))]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

// Rows that unit tests share with the integration tests name the crate as users do.
#[cfg(test)]
extern crate self as wgrad;

pub(crate) mod atomic;
pub mod autodiff;
pub(crate) mod cpu;
pub mod data;
pub mod device;
pub(crate) mod dims;
pub mod dtype;
pub(crate) mod ending;
pub mod error;
pub(crate) mod eval;
pub(crate) mod executor;
pub(crate) mod faults;
#[cfg_attr(not(feature = "gpu"), path = "gpu/absent.rs")]
pub(crate) mod gpu;
pub(crate) mod graph;
pub mod guide;
pub(crate) mod host;
pub mod io;
pub(crate) mod lazy;
pub(crate) mod math;
pub(crate) mod memory;
pub mod nn;
pub mod optim;
pub mod param;
pub(crate) mod plan;
pub mod rng;
pub mod shape;
pub(crate) mod site;
pub(crate) mod source;
pub(crate) mod storage;
pub(crate) mod sync;
pub mod tensor;
pub mod train;

pub use autodiff::{Differentiable, Gradients, Measured, grad};
pub use device::{
    CacheLimits, Ceilings, Choice, Counters, Device, DeviceInfo, DeviceKind, DeviceOptions, GpuModel, Launch, LayerRow,
    MemoryEstimate, MemoryUse, Pass, Profile, ProfileRow,
};
pub use dtype::{DType, Element, HostData};
pub use error::{Error, Result};
#[cfg(feature = "faults")]
pub use faults::{Fault, FaultKind};
pub use lazy::no_grad;
pub use param::Param;
pub use rng::Generator;
pub use shape::{IntoAxes, IntoShape, PerAxis, Shape};
pub use tensor::{
    AttentionOptions, ConvOptions, ConvTransposeOptions, FoldOptions, GridOptions, Interpolation, PadMode, PoolOptions,
    VarOptions,
};
pub use tensor::{Operand, PendingValue, Tensor};

/// What most programs need: `use wgrad::prelude::*;`.
pub mod prelude {
    pub use crate::data::transforms::Transform;
    pub use crate::data::{DataLoader, Dataset};
    pub use crate::nn::loss::{accuracy, cross_entropy};
    pub use crate::nn::{Init, Linear, Module, Reduction, Relu, Sequential, fields, sequential};
    pub use crate::optim::{Adam, AdamConfig, Optimizer, Schedule};
    pub use crate::train::Meter;
    pub use crate::{DType, Device, Error, Generator, Param, Result, Shape, Tensor, no_grad};
}

/// Rates of single GPU kernels, for this crate's own benchmarks.
#[cfg(feature = "lab")]
#[doc(hidden)]
pub mod lab {
    pub use crate::gpu::kernels::rates::{Wanted, print};
}

/// The README's code runs as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
