//! Batch normalisation of images.

use super::fields::Mode;
use super::init::Init;
use super::module::Module;
use super::summary::observe;
use crate::error::{Error, Result};
use crate::fields;
use crate::param::Param;
use crate::tensor::Tensor;
use crate::tensor::node::no_grad;

/// Settings of a [`BatchNorm2d`].
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

/// `y = (x - mean) / √(variance + eps) · weight + bias`, a mean and a variance a channel of `[n, c, h, w]`.
///
/// In training, mean and (population) variance are the batch's own, and the running statistics follow them:
/// `running = (1 - momentum) · running + momentum · batch`, with the unbiased variance, as in PyTorch. In evaluation, the
/// running statistics are used and not changed.
///
/// Source: S. Ioffe, C. Szegedy, "Batch normalization", 2015.
#[derive(Debug)]
pub struct BatchNorm2d {
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

impl BatchNorm2d {
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
        let param = |name: &str, value: f64| {
            let param = Param::new(&init.constant(channels, value)?)?;
            param.set_name(name);
            Ok::<_, Error>(param)
        };
        let buffer = |name: &str, value: f64| {
            let buffer = Param::buffer(&init.constant(channels, value)?)?;
            buffer.set_name(name);
            Ok::<_, Error>(buffer)
        };
        let (weight, bias) = if config.affine { (Some(param("weight", 1.0)?), Some(param("bias", 0.0)?)) } else { (None, None) };
        Ok(Self {
            weight,
            bias,
            running_mean: buffer("running_mean", 0.0)?,
            running_var: buffer("running_var", 1.0)?,
            mode: Mode::default(),
            config,
        })
    }

    /// Scale and shift, if there are any.
    fn affine(&self, x: Tensor) -> Tensor {
        match (&self.weight, &self.bias) {
            (Some(weight), Some(bias)) => x * channelwise(&weight.tensor()) + channelwise(&bias.tensor()),
            _ => x,
        }
    }

    /// Hangs the update of the running statistics on the output.
    fn track(&self, y: &Tensor, mean: &Tensor, variance: &Tensor, count: usize) -> Result<Tensor> {
        let momentum = self.config.momentum;
        let unbiased = count as f64 / (count as f64 - 1.0);
        let (mean, variance) =
            (mean.detach().reshape(self.running_mean.shape()), variance.detach().reshape(self.running_var.shape()));
        let (new_mean, new_var) = no_grad(|| {
            let blend = |old: &Param, new: Tensor| old.tensor() * (1.0 - momentum) + new * momentum;
            (blend(&self.running_mean, mean), blend(&self.running_var, variance * unbiased))
        });
        let y = self.running_mean.assign_with(&new_mean, y)?;
        self.running_var.assign_with(&new_var, &y)
    }
}

/// `[c]` as `[1, c, 1, 1]`.
fn channelwise(x: &Tensor) -> Tensor {
    match x.shape() {
        Ok(shape) => x.reshape([1, shape.numel(), 1, 1]),
        // The error stays in the tensor.
        Err(_) => x.clone(),
    }
}

impl Module for BatchNorm2d {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let [n, c, h, w] = x.dims::<4>()?;
        let expected = self.running_mean.shape().numel();
        if c != expected {
            return Err(Error::argument(
                "BatchNorm2d",
                format!("the input {} has {c} channels and the layer {expected}", x.shape()?),
                "give [n, channels, h, w]",
            ));
        }
        if !self.mode.is_training() {
            let centred = x - channelwise(&self.running_mean.tensor());
            let scale = (self.running_var.tensor() + self.config.eps).rsqrt();
            return observe(self, "BatchNorm2d", self.affine(centred * channelwise(&scale)));
        }
        let count = n * h * w;
        if count < 2 {
            return Err(Error::argument(
                "BatchNorm2d",
                format!("the input {} has {count} values a channel", x.shape()?),
                "train on at least 2 values a channel, or call eval()",
            ));
        }
        let (normal, mean, variance) = x.normalize(&[0, 2, 3], self.config.eps);
        let y = self.track(&self.affine(normal), &mean, &variance, count)?;
        observe(self, "BatchNorm2d", y)
    }
    fields!(weight, bias, running_mean, running_var, mode; skip config);
}
