//! Normalisation over the elements of one example: layer, RMS and group.

use super::init::{Init, affine, filled};
use super::module::Module;
use super::summary::observe;
use crate::error::{Error, Result};
use crate::fields;
use crate::param::Param;
use crate::shape::{IntoShape, Shape};
use crate::tensor::Tensor;

/// Settings of a [`LayerNorm`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerNormConfig {
    /// Added to the variance. Defaults to 1e-5.
    pub eps: f64,
    /// Whether a scale is learned. Defaults to true.
    pub elementwise_affine: bool,
    /// Whether, with a scale, a shift is learned. Defaults to true.
    pub bias: bool,
}

impl Default for LayerNormConfig {
    fn default() -> Self {
        Self { eps: 1e-5, elementwise_affine: true, bias: true }
    }
}

/// [`Tensor::layer_norm`] over the last axes, with a learned scale and shift of their shape.
#[derive(Debug)]
#[must_use = "a layer computes nothing until its forward is called"]
pub struct LayerNorm {
    /// Scale, of the normalised shape; starts at 1.
    pub weight: Option<Param>,
    /// Shift, of the normalised shape; starts at 0.
    pub bias: Option<Param>,
    normalized: Shape,
    config: LayerNormConfig,
}

impl LayerNorm {
    /// A layer over the last axes, of shape `normalized`, with PyTorch's settings.
    ///
    /// # Errors
    /// An impossible shape; the device is out of memory.
    #[track_caller]
    pub fn new(normalized: impl IntoShape, init: &Init) -> Result<Self> {
        Self::with(normalized, LayerNormConfig::default(), init)
    }

    /// A layer with its own settings.
    ///
    /// # Errors
    /// As [`LayerNorm::new`].
    #[track_caller]
    pub fn with(normalized: impl IntoShape, config: LayerNormConfig, init: &Init) -> Result<Self> {
        let normalized = normalized.into_shape()?;
        let (weight, bias) = affine(normalized, config.elementwise_affine, init)?;
        Ok(Self { weight, bias: bias.filter(|_| config.bias), normalized, config })
    }
}

impl Module for LayerNorm {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = (self.weight.as_ref().map(Param::tensor), self.bias.as_ref().map(Param::tensor));
        observe(self, "LayerNorm", x.layer_norm(self.normalized, weight.as_ref(), bias.as_ref(), self.config.eps))
    }
    fields!(weight, bias; skip normalized, config);
}

/// Settings of an [`RmsNorm`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RmsNormConfig {
    /// Added to the mean square. Defaults to `None`: the machine epsilon of the input's dtype, as in PyTorch.
    pub eps: Option<f64>,
    /// Whether a scale is learned. Defaults to true.
    pub elementwise_affine: bool,
}

impl Default for RmsNormConfig {
    fn default() -> Self {
        Self { eps: None, elementwise_affine: true }
    }
}

/// [`Tensor::rms_norm`] over the last axes, with a learned scale of their shape.
#[derive(Debug)]
#[must_use = "a layer computes nothing until its forward is called"]
pub struct RmsNorm {
    /// Scale, of the normalised shape; starts at 1.
    pub weight: Option<Param>,
    normalized: Shape,
    config: RmsNormConfig,
}

impl RmsNorm {
    /// A layer over the last axes, of shape `normalized`, with PyTorch's settings.
    ///
    /// # Errors
    /// An impossible shape; the device is out of memory.
    #[track_caller]
    pub fn new(normalized: impl IntoShape, init: &Init) -> Result<Self> {
        Self::with(normalized, RmsNormConfig::default(), init)
    }

    /// A layer with its own settings.
    ///
    /// # Errors
    /// As [`RmsNorm::new`].
    #[track_caller]
    pub fn with(normalized: impl IntoShape, config: RmsNormConfig, init: &Init) -> Result<Self> {
        let normalized = normalized.into_shape()?;
        let weight = if config.elementwise_affine { Some(filled("weight", normalized, 1.0, init)?) } else { None };
        Ok(Self { weight, normalized, config })
    }
}

impl Module for RmsNorm {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let weight = self.weight.as_ref().map(Param::tensor);
        observe(self, "RmsNorm", x.rms_norm(self.normalized, weight.as_ref(), self.config.eps))
    }
    fields!(weight; skip normalized, config);
}

/// Settings of a [`GroupNorm`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupNormConfig {
    /// Added to the variance. Defaults to 1e-5.
    pub eps: f64,
    /// Whether a scale and a shift per channel are learned. Defaults to true.
    pub affine: bool,
}

impl Default for GroupNormConfig {
    fn default() -> Self {
        Self { eps: 1e-5, affine: true }
    }
}

/// [`Tensor::group_norm`] of `[n, c, ..]`, with a learned scale and shift per channel.
#[derive(Debug)]
#[must_use = "a layer computes nothing until its forward is called"]
pub struct GroupNorm {
    /// Scale, `[c]`; starts at 1.
    pub weight: Option<Param>,
    /// Shift, `[c]`; starts at 0.
    pub bias: Option<Param>,
    groups: usize,
    config: GroupNormConfig,
}

impl GroupNorm {
    /// A layer of `groups` groups for `channels` channels, with PyTorch's settings.
    ///
    /// # Errors
    /// The groups do not divide the channels; the device is out of memory.
    #[track_caller]
    pub fn new(groups: usize, channels: usize, init: &Init) -> Result<Self> {
        Self::with(groups, channels, GroupNormConfig::default(), init)
    }

    /// A layer with its own settings.
    ///
    /// # Errors
    /// As [`GroupNorm::new`].
    #[track_caller]
    pub fn with(groups: usize, channels: usize, config: GroupNormConfig, init: &Init) -> Result<Self> {
        if groups == 0 || !channels.is_multiple_of(groups) {
            let reason = format!("{groups} groups do not divide {channels} channels");
            return Err(Error::argument("GroupNorm::new", reason, "use a number of groups that divides the channels"));
        }
        let (weight, bias) = affine(channels, config.affine, init)?;
        Ok(Self { weight, bias, groups, config })
    }
}

impl Module for GroupNorm {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = (self.weight.as_ref().map(Param::tensor), self.bias.as_ref().map(Param::tensor));
        observe(self, "GroupNorm", x.group_norm(self.groups, weight.as_ref(), bias.as_ref(), self.config.eps))
    }
    fields!(weight, bias; skip groups, config);
}
