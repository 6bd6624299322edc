//! The fully connected layer.

use super::init::{self, Init};
use super::module::Module;
use super::summary::observe;
use crate::error::Result;
use crate::fields;
use crate::param::Param;
use crate::shape::Shape;
use crate::tensor::{Fault, Tensor};
use std::panic::Location;

/// Settings of a [`Linear`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinearConfig {
    /// Whether a bias is added. Defaults to true.
    pub bias: bool,
}

impl Default for LinearConfig {
    fn default() -> Self {
        Self { bias: true }
    }
}

/// `y = x · weightᵀ + bias` over the last axis: `[..., in]` to `[..., out]`, weight `[out, in]`.
#[derive(Debug)]
#[must_use = "a layer computes nothing until its forward is called"]
pub struct Linear {
    /// `[out, in]`.
    pub weight: Param,
    /// `[out]`.
    pub bias: Option<Param>,
}

impl Linear {
    /// A layer with bias, initialised as in PyTorch.
    ///
    /// # Errors
    /// The device is out of memory.
    #[track_caller]
    pub fn new(inputs: usize, outputs: usize, init: &Init) -> Result<Self> {
        Self::with(inputs, outputs, LinearConfig::default(), init)
    }

    /// A layer with its own settings.
    ///
    /// ```
    /// # use wgrad::Device;
    /// # use wgrad::nn::{Init, Linear, LinearConfig};
    /// # fn main() -> wgrad::Result<()> {
    /// let layer = Linear::with(4, 8, LinearConfig { bias: false }, &Init::new(&Device::cpu()?, 0))?;
    /// assert!(layer.bias.is_none());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The device is out of memory.
    #[track_caller]
    pub fn with(inputs: usize, outputs: usize, config: LinearConfig, init: &Init) -> Result<Self> {
        let shape = Shape::new(&[outputs, inputs])?;
        let (weight, bias) = init::weight_and_bias(shape, config.bias.then_some(outputs), init)?;
        Ok(Self { weight, bias })
    }
}

impl Module for Linear {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (shape, inputs) = (x.shape()?, self.weight.shape()[1]);
        if shape.last() != Some(&inputs) {
            let reason = match shape.last() {
                Some(width) => format!("the input {shape} has {width} in its last axis, and the layer takes {inputs}"),
                None => format!("the input is a scalar, and the layer takes [.., {inputs}]"),
            };
            let fault = Fault::shape(reason, format!("give [.., {inputs}], or make the layer for this width"));
            return observe(self, "Linear", Tensor::refuse("Linear", &[x], Location::caller(), fault));
        }
        let product = x.matmul(&self.weight.tensor().t());
        observe(
            self,
            "Linear",
            match &self.bias {
                Some(bias) => product + bias.tensor(),
                None => product,
            },
        )
    }
    fields!(weight, bias);
}
