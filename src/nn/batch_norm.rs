//! Batch normalisation of vectors, sequences, images and volumes.

use super::fields::Mode;
use super::init::Init;
use super::module::Module;
use super::summary::observe;
use crate::error::{Error, Result};
use crate::fields;
use crate::param::Param;
use crate::shape::IntoShape;
use crate::tensor::Tensor;
use crate::tensor::node::no_grad;

/// Settings of a [`BatchNorm1d`], [`BatchNorm2d`] or [`BatchNorm3d`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchNormConfig {
    /// Added to the variance. Defaults to 1e-5.
    pub eps: f64,
    /// Weight of the newest batch in the running statistics. Defaults to 0.1.
    pub momentum: f64,
    /// Whether a scale and a shift a channel are learned. Defaults to true.
    pub affine: bool,
}

impl Default for BatchNormConfig {
    fn default() -> Self {
        Self { eps: 1e-5, momentum: 0.1, affine: true }
    }
}

macro_rules! batch_norm {
    ($(#[$doc:meta])* $name:ident, $ranks:expr, $layout:literal) => {
        $(#[$doc])*
        ///
        /// `y = (x - mean) / √(variance + eps) · weight + bias`, a mean and a variance a channel. In training, mean and
        /// (population) variance are the batch's own, and the running statistics follow them:
        /// `running = (1 - momentum) · running + momentum · batch`, with the unbiased variance, as in PyTorch. In evaluation,
        /// the running statistics are used and not changed.
        ///
        /// Source: S. Ioffe, C. Szegedy, "Batch normalization", 2015.
        #[derive(Debug)]
        pub struct $name {
            /// Scale, `[c]`; starts at 1.
            pub weight: Option<Param>,
            /// Shift, `[c]`; starts at 0.
            pub bias: Option<Param>,
            /// `[c]`; starts at 0.
            pub running_mean: Param,
            /// `[c]`; starts at 1.
            pub running_var: Param,
            mode: Mode,
            config: BatchNormConfig,
        }

        impl $name {
            /// A layer for `channels` with PyTorch's settings.
            ///
            /// # Errors
            /// The device is out of memory.
            pub fn new(channels: usize, init: &Init) -> Result<Self> {
                Self::with(channels, BatchNormConfig::default(), init)
            }

            /// A layer with its own settings.
            ///
            /// # Errors
            /// The device is out of memory.
            pub fn with(channels: usize, config: BatchNormConfig, init: &Init) -> Result<Self> {
                let (weight, bias) = affine(channels, config.affine, init)?;
                Ok(Self {
                    weight,
                    bias,
                    running_mean: buffer("running_mean", channels, 0.0, init)?,
                    running_var: buffer("running_var", channels, 1.0, init)?,
                    mode: Mode::default(),
                    config,
                })
            }
        }

        impl Module for $name {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                let kind = stringify!($name);
                let channels = check(kind, x, &$ranks, $layout, &self.running_mean)?;
                let (weight, bias) = (self.weight.as_ref().map(Param::tensor), self.bias.as_ref().map(Param::tensor));
                let eps = self.config.eps;
                if !self.mode.is_training() {
                    let (mean, variance) = (self.running_mean.tensor(), self.running_var.tensor());
                    return observe(self, kind, x.batch_norm_with(&mean, &variance, weight.as_ref(), bias.as_ref(), eps));
                }
                let count = x.shape()?.numel() / channels.max(1);
                if count < 2 {
                    return Err(Error::argument(
                        kind,
                        format!("the input {} has {count} values a channel", x.shape()?),
                        "train on at least 2 values a channel, or call eval()",
                    ));
                }
                let (y, mean, variance) = x.batch_norm(weight.as_ref(), bias.as_ref(), eps);
                let unbiased = variance * (count as f64 / (count as f64 - 1.0));
                let y = track(&self.running_mean, &mean, self.config.momentum, &y)?;
                observe(self, kind, track(&self.running_var, &unbiased, self.config.momentum, &y)?)
            }
            fields!(weight, bias, running_mean, running_var, mode; skip config);
        }
    };
}

batch_norm! {
    /// Batch normalisation of `[n, c]` or `[n, c, l]`.
    BatchNorm1d, [2, 3], "[n, channels] or [n, channels, l]"
}
batch_norm! {
    /// Batch normalisation of images `[n, c, h, w]`.
    BatchNorm2d, [4], "[n, channels, h, w]"
}
batch_norm! {
    /// Batch normalisation of volumes `[n, c, d, h, w]`.
    BatchNorm3d, [5], "[n, channels, d, h, w]"
}

/// Ones and zeros to learn, if wanted.
pub(super) fn affine(shape: impl IntoShape, wanted: bool, init: &Init) -> Result<(Option<Param>, Option<Param>)> {
    if !wanted {
        return Ok((None, None));
    }
    let shape = shape.into_shape()?;
    Ok((Some(filled("weight", shape, 1.0, init)?), Some(filled("bias", shape, 0.0, init)?)))
}

/// A parameter that starts at one value.
pub(super) fn filled(name: &str, shape: impl IntoShape, value: f64, init: &Init) -> Result<Param> {
    let param = Param::new(&init.constant(shape, value)?)?;
    param.set_name(name);
    Ok(param)
}

fn buffer(name: &str, channels: usize, value: f64, init: &Init) -> Result<Param> {
    let buffer = Param::buffer(&init.constant(channels, value)?)?;
    buffer.set_name(name);
    Ok(buffer)
}

/// The number of channels, if the input has as many as the layer.
fn check(kind: &'static str, x: &Tensor, ranks: &[usize], layout: &str, running: &Param) -> Result<usize> {
    let (shape, expected) = (x.shape()?, running.shape().numel());
    if ranks.contains(&shape.rank()) && shape[1] == expected {
        return Ok(expected);
    }
    let reason = format!("the input {shape} does not fit a layer of {expected} channels");
    Err(Error::argument(kind, reason, format!("give {layout}")))
}

/// Hangs the update of a running statistic on the output.
fn track(running: &Param, batch: &Tensor, momentum: f64, y: &Tensor) -> Result<Tensor> {
    let batch = batch.detach();
    let value = no_grad(|| running.tensor() * (1.0 - momentum) + batch * momentum);
    running.assign_with(&value, y)
}
