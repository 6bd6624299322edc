//! Running statistics, as batch and instance normalisation keep them, and the fields of these layers.

use super::init::Init;
use super::mode::Counter;
use crate::error::{Error, Result};
use crate::lazy::no_grad;
use crate::param::Param;
use crate::tensor::Tensor;

/// A layer with running statistics: its fields, and its constructors from settings (`eps`, `momentum`, `affine`,
/// `track_running_stats`). The layer's documentation says what the counter counts and which settings are the default.
macro_rules! norm_layer {
    (
        $(#[$doc:meta])* $name:ident, $config:ident,
        $(#[$counter:meta])* num_batches_tracked,
        $(#[$new:meta])* new
    ) => {
        $(#[$doc])*
        #[derive(Debug)]
        #[must_use = "a layer computes nothing until its forward is called"]
        pub struct $name {
            /// Scale, `[c]`; starts at 1.
            pub weight: Option<$crate::param::Param>,
            /// Shift, `[c]`; starts at 0.
            pub bias: Option<$crate::param::Param>,
            /// `[c]`; starts at 0.
            pub running_mean: Option<$crate::param::Param>,
            /// `[c]`; starts at 1.
            pub running_var: Option<$crate::param::Param>,
            $(#[$counter])*
            pub num_batches_tracked: Option<$crate::nn::Counter>,
            channels: usize,
            mode: $crate::nn::Mode,
            config: $config,
        }

        impl $name {
            $(#[$new])*
            ///
            /// # Errors
            /// The device is out of memory.
            #[track_caller]
            pub fn new(channels: usize, init: &$crate::nn::Init) -> $crate::error::Result<Self> {
                Self::with(channels, $config::default(), init)
            }

            /// A layer with its own settings.
            ///
            /// # Errors
            /// A momentum outside `0..=1`; an eps below 0; the device is out of memory.
            #[track_caller]
            pub fn with(channels: usize, config: $config, init: &$crate::nn::Init) -> $crate::error::Result<Self> {
                use $crate::nn::init::affine;
                use $crate::nn::running::{check_settings, running};
                check_settings(concat!(stringify!($name), "::with"), config.eps, config.momentum)?;
                let (weight, bias) = affine(channels, config.affine, init)?;
                let (running_mean, running_var, num_batches_tracked) = running(channels, config.track_running_stats, init)?;
                let mode = $crate::nn::Mode::default();
                Ok(Self { weight, bias, running_mean, running_var, num_batches_tracked, channels, mode, config })
            }
        }
    };
}
pub(super) use norm_layer;

/// The settings of such layers, which differ in their defaults and in what a momentum of `None` means.
macro_rules! norm_config {
    ($(#[$doc:meta])* $name:ident, $momentum:literal, $affine:literal, $track:literal, $without:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq)]
        pub struct $name {
            /// Added to the variance. Defaults to 1e-5.
            pub eps: f64,
            #[doc = concat!("Weight of the newest batch in the running statistics; ", $momentum, " Defaults to 0.1.")]
            pub momentum: Option<f64>,
            #[doc = concat!("Whether a scale and a shift per channel are learned. Defaults to ", $affine, ".")]
            pub affine: bool,
            #[doc = concat!("Whether running statistics are kept, and used in evaluation; without them, each ", $without)]
            #[doc = concat!("is normalised by its own statistics in evaluation too. Defaults to ", $track, ".")]
            pub track_running_stats: bool,
        }

        impl Default for $name {
            fn default() -> Self {
                Self { eps: 1e-5, momentum: Some(0.1), affine: $affine, track_running_stats: $track }
            }
        }
    };
}
pub(super) use norm_config;

/// `running_mean`, `running_var` and `num_batches_tracked`, or none of them.
pub(super) type Running = (Option<Param>, Option<Param>, Option<Counter>);

/// Means of 0, variances of 1 and no batch, if wanted.
pub(super) fn running(channels: usize, wanted: bool, init: &Init) -> Result<Running> {
    if !wanted {
        return Ok((None, None, None));
    }
    let buffer = |name: &str, value: f64| {
        let buffer = Param::buffer(&init.constant(channels, value)?)?;
        buffer.set_name(name);
        Ok::<_, Error>(buffer)
    };
    Ok((Some(buffer("running_mean", 0.0)?), Some(buffer("running_var", 1.0)?), Some(Counter::default())))
}

/// Refuses settings that make no average.
#[track_caller]
pub(super) fn check_settings(kind: &'static str, eps: f64, momentum: Option<f64>) -> Result<()> {
    if let Some(momentum) = momentum.filter(|m| !(0.0..=1.0).contains(m)) {
        let reason = format!("a momentum of {momentum} was given");
        return Err(Error::argument(kind, reason, "use one in 0..=1, such as 0.1, or None"));
    }
    if eps.is_finite() && eps >= 0.0 {
        return Ok(());
    }
    Err(Error::argument(kind, format!("eps is {eps}"), "use a small positive number, such as 1e-5"))
}

/// Has `running = (1 - momentum) · running + momentum · batch` run with the step that `y` leads to; `counter` counts it.
pub(super) fn track(running: &Param, batch: &Tensor, momentum: f64, y: &Tensor, counter: Option<&Counter>) -> Result<Tensor> {
    let batch = batch.detach();
    let value = no_grad(|| running.tensor() * (1.0 - momentum) + batch * momentum);
    running.assign_tallied(&value, y, counter.map(Counter::tally))
}
