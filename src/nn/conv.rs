//! Convolution layers over one, two and three axes, and transposed ones.

use super::init::{self, Init};
use super::module::Module;
use super::summary::observe;
use crate::error::{Error, Result};
use crate::fields;
use crate::param::Param;
use crate::shape::{PerAxis, Shape};
use crate::tensor::{ConvOptions, ConvTransposeOptions, Tensor};

macro_rules! layer {
    (
        $(#[$doc:meta])*
        $name:ident, $axes:literal, $options:ident, $method:ident,
        $weight_layout:literal, $weight_shape:expr
    ) => {
        $(#[$doc])*
        #[derive(Debug)]
        #[must_use = "a layer computes nothing until its forward is called"]
        pub struct $name {
            #[doc = $weight_layout]
            pub weight: Param,
            /// `[co]`.
            pub bias: Option<Param>,
            options: $options<$axes>,
        }

        impl $name {
            /// A layer from `inputs` to `outputs` channels with a window of `kernel`, one number or one per axis, initialised as
            /// in PyTorch: stride 1, no padding, with bias.
            ///
            /// # Errors
            /// The device is out of memory.
            #[track_caller]
            pub fn new(inputs: usize, outputs: usize, kernel: impl PerAxis<$axes>, init: &Init) -> Result<Self> {
                Self::with(inputs, outputs, kernel, $options::default(), init)
            }

            /// A layer with its own settings.
            ///
            /// # Errors
            /// The groups do not divide the channels; the device is out of memory.
            #[track_caller]
            pub fn with(
                inputs: usize,
                outputs: usize,
                kernel: impl PerAxis<$axes>,
                options: $options<$axes>,
                init: &Init,
            ) -> Result<Self> {
                let groups = options.groups;
                need_groups(concat!(stringify!($name), "::with"), groups, inputs, outputs)?;
                let shape: fn(usize, usize, usize) -> [usize; 2] = $weight_shape;
                let shape = Shape::new(&[&shape(inputs, outputs, groups)[..], &kernel.per_axis()].concat())?;
                let (weight, bias) = init::weight_and_bias(shape, options.bias.then_some(outputs), init)?;
                Ok(Self { weight, bias, options })
            }
        }

        impl Module for $name {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                let bias = self.bias.as_ref().map(Param::tensor);
                // What counts is the bias field, which callers may set or clear.
                let options = $options { bias: bias.is_some(), ..self.options };
                observe(self, stringify!($name), x.$method(&self.weight.tensor(), bias.as_ref(), options))
            }
            fields!(weight, bias; skip options);
        }
    };
}

layer! {
    /// [`Tensor::conv1d`] of `[n, ci, l]` with a learned weight and bias.
    Conv1d, 1, ConvOptions, conv1d,
    "`[co, ci/groups, k]`.", |inputs, outputs, groups| [outputs, inputs / groups]
}
layer! {
    /// [`Tensor::conv2d`] of `[n, ci, h, w]` with a learned weight and bias: `[n, co, oh, ow]`.
    ///
    /// ```
    /// # use wgrad::nn::{Conv2d, ConvOptions, Init, Module};
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let device = Device::cpu()?;
    /// let init = Init::new(&device, 0);
    /// let halve = ConvOptions { stride: [2, 2], padding: [1, 1], bias: false, ..Default::default() };
    /// let conv = Conv2d::with(3, 8, 3, halve, &init)?;
    /// assert_eq!(conv.forward(&Tensor::ones([1, 3, 6, 6], &device)?)?.shape()?, [1, 8, 3, 3]);
    /// assert_eq!(Conv2d::new(3, 8, [1, 5], &init)?.weight.shape(), [8, 3, 1, 5]);
    /// # Ok(()) }
    /// ```
    Conv2d, 2, ConvOptions, conv2d,
    "`[co, ci/groups, kh, kw]`.", |inputs, outputs, groups| [outputs, inputs / groups]
}
layer! {
    /// [`Tensor::conv3d`] of `[n, ci, d, h, w]` with a learned weight and bias.
    Conv3d, 3, ConvOptions, conv3d,
    "`[co, ci/groups, kd, kh, kw]`.", |inputs, outputs, groups| [outputs, inputs / groups]
}
layer! {
    /// [`Tensor::conv_transpose1d`] of `[n, ci, l]` with a learned weight and bias.
    ConvTranspose1d, 1, ConvTransposeOptions, conv_transpose1d,
    "`[ci, co/groups, k]`.", |inputs, outputs, groups| [inputs, outputs / groups]
}
layer! {
    /// [`Tensor::conv_transpose2d`] of `[n, ci, h, w]` with a learned weight and bias.
    ConvTranspose2d, 2, ConvTransposeOptions, conv_transpose2d,
    "`[ci, co/groups, kh, kw]`.", |inputs, outputs, groups| [inputs, outputs / groups]
}
layer! {
    /// [`Tensor::conv_transpose3d`] of `[n, ci, d, h, w]` with a learned weight and bias.
    ConvTranspose3d, 3, ConvTransposeOptions, conv_transpose3d,
    "`[ci, co/groups, kd, kh, kw]`.", |inputs, outputs, groups| [inputs, outputs / groups]
}

#[track_caller]
fn need_groups(kind: &'static str, groups: usize, inputs: usize, outputs: usize) -> Result<()> {
    if groups > 0 && inputs.is_multiple_of(groups) && outputs.is_multiple_of(groups) {
        return Ok(());
    }
    let reason = format!("{groups} groups do not divide {inputs} input and {outputs} output channels");
    Err(Error::argument(kind, reason, "use a number of groups that divides both"))
}
