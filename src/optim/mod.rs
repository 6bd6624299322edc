//! Optimizers: fused, multi-tensor, one dispatch for all parameters.
//!
//! In order of complexity: [`Sgd`], [`AdaGrad`], [`Lion`], [`AdaDelta`], [`RmsProp`], [`Adam`] (and AMSGrad), [`AdamW`],
//! [`Adamax`], [`NAdam`], [`RAdam`], [`Lamb`]. Names, formulas and defaults are PyTorch's, or the papers'. Hyper-parameters are
//! data: changing one, such as the learning rate at every step, recompiles nothing.
//!
//! Step counts are kept per parameter. A frozen parameter, or one without a gradient in a step, is left alone in that step: no
//! decay, no change of state, no count.
//!
//! ```
//! use wgrad::optim::{Adam, AdamConfig, Optimizer, ParamGroup};
//! use wgrad::{Device, Param, Result, Tensor};
//!
//! # fn main() -> Result<()> {
//! let device = Device::cpu()?;
//! let w = Param::new(&Tensor::ones([3], &device)?)?;
//! let mut adam = Adam::new(&[w.clone()], AdamConfig { lr: 0.1, ..AdamConfig::default() })?;
//! let loss = w.tensor().square().sum();
//! adam.step(loss.backward()?)?;
//! assert!(w.tensor().to_vec::<f32>()?.iter().all(|&x| (x - 0.9).abs() < 1e-4));
//! # Ok(()) }
//! ```
//!
//! | subject | |
//! |---|---|
//! | optimizers | [`Sgd`] [`Adam`] [`AdamW`] [`RmsProp`] [`AdaGrad`] [`AdaDelta`] [`Adamax`] [`NAdam`] [`RAdam`] [`Lion`] [`Lamb`] |
//! | their settings | [`SgdConfig`] [`AdamConfig`] [`AdamWConfig`] [`RmsPropConfig`] [`AdaGradConfig`] [`AdaDeltaConfig`] [`AdamaxConfig`] [`NAdamConfig`] [`RAdamConfig`] [`LionConfig`] [`LambConfig`] [`DecayMode`] |
//! | what all can do | [`Optimizer`] [`Fused`] [`PreparedState`] |
//! | parameter groups | [`ParamGroup`] [`split_decay`] [`decays`] |
//! | learning rates | [`Schedule`] [`schedule`] [`ReduceOnPlateau`] [`PlateauConfig`] [`PlateauMode`] [`Threshold`] |
//! | accumulation, loss scaling, averages | [`GradientAccumulator`] [`LossScaler`] [`LossScalerConfig`] [`Ema`] |

mod accumulate;
mod adadelta;
mod adagrad;
mod adam;
mod adamax;
mod adamw;
mod config;
mod counts;
mod ema;
mod engine;
mod fused;
mod groups;
mod lamb;
mod lion;
mod nadam;
mod names;
mod optimizer;
mod plateau;
mod radam;
mod rmsprop;
mod scaler;
pub mod schedule;
mod sgd;
mod usual;

pub use crate::graph::optim::DecayMode;
pub use crate::param::ParamGroup;
pub use accumulate::GradientAccumulator;
pub use adadelta::{AdaDelta, AdaDeltaConfig};
pub use adagrad::{AdaGrad, AdaGradConfig};
pub use adam::{Adam, AdamConfig};
pub use adamax::{Adamax, AdamaxConfig};
pub use adamw::{AdamW, AdamWConfig};
pub use ema::Ema;
pub use fused::Fused;
pub use groups::{decays, split_decay};
pub use lamb::{Lamb, LambConfig};
pub use lion::{Lion, LionConfig};
pub use nadam::{NAdam, NAdamConfig};
pub use optimizer::{Optimizer, PreparedState};
pub use plateau::{PlateauConfig, PlateauMode, ReduceOnPlateau, Threshold};
pub use radam::{RAdam, RAdamConfig};
pub use rmsprop::{RmsProp, RmsPropConfig};
pub use scaler::{LossScaler, LossScalerConfig};
pub use schedule::Schedule;
pub use sgd::{Sgd, SgdConfig};
