//! 2-D convolution.

use super::init::{self, Init};
use super::module::Module;
use super::summary::observe;
use crate::error::{Error, Result};
use crate::fields;
use crate::param::Param;
use crate::shape::Shape;
use crate::tensor::{ConvOptions, Tensor};

/// How a [`Conv2d`] moves over its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2dConfig {
    /// Step of the window, vertical and horizontal. Defaults to 1.
    pub stride: [usize; 2],
    /// Zeros on both sides, vertical and horizontal. Defaults to 0.
    pub padding: [usize; 2],
    /// Distance between the window's taps. Defaults to 1.
    pub dilation: [usize; 2],
    /// Channel groups that do not see each other. Defaults to 1.
    pub groups: usize,
    /// Whether a bias is added. Defaults to true.
    pub bias: bool,
}

impl Default for Conv2dConfig {
    fn default() -> Self {
        Self { stride: [1, 1], padding: [0, 0], dilation: [1, 1], groups: 1, bias: true }
    }
}

/// Cross-correlation of `[n, ci, h, w]` with a weight `[co, ci/groups, kh, kw]`, plus a bias per channel, to `[n, co, oh, ow]`.
#[derive(Debug)]
pub struct Conv2d {
    /// `[co, ci/groups, kh, kw]`.
    pub weight: Param,
    /// `[co]`.
    pub bias: Option<Param>,
    config: Conv2dConfig,
}

impl Conv2d {
    /// A layer with a window of `kernel` (height, width), initialised as PyTorch's.
    ///
    /// # Errors
    /// The groups do not divide the channels; the device is out of memory.
    pub fn new(inputs: usize, outputs: usize, kernel: [usize; 2], config: Conv2dConfig, init: &Init) -> Result<Self> {
        let groups = config.groups;
        if groups == 0 || !inputs.is_multiple_of(groups) || !outputs.is_multiple_of(groups) {
            return Err(Error::argument(
                "Conv2d::new",
                format!("{groups} groups do not divide {inputs} input and {outputs} output channels"),
                "use a number of groups that divides both",
            ));
        }
        let shape = Shape::new(&[outputs, inputs / groups, kernel[0], kernel[1]])?;
        let (weight, bias) = init::weight_and_bias(shape, config.bias, init)?;
        Ok(Self { weight, bias, config })
    }
}

impl Module for Conv2d {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let Conv2dConfig { stride, padding, dilation, groups, .. } = self.config;
        let bias = self.bias.as_ref().map(Param::tensor);
        let options = ConvOptions { stride, padding, dilation, groups };
        observe(self, "Conv2d", x.conv2d(&self.weight.tensor(), bias.as_ref(), options))
    }
    fields!(weight, bias; skip config);
}
