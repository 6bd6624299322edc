//! Convolution layers over one and three axes, and transposed ones.

use super::init::{self, Init};
use super::module::Module;
use super::summary::observe;
use crate::error::{Error, Result};
use crate::fields;
use crate::param::Param;
use crate::shape::Shape;
use crate::tensor::{ConvNdOptions, ConvTransposeOptions, Tensor};

macro_rules! layer {
    (
        $(#[$doc:meta])*
        $name:ident, $axes:literal, $options:ty, $method:ident,
        $weight_layout:literal, $weight_shape:expr
    ) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name {
            #[doc = $weight_layout]
            pub weight: Param,
            /// `[co]`.
            pub bias: Option<Param>,
            options: $options,
        }

        impl $name {
            /// A layer with bias, initialised as PyTorch's.
            ///
            /// # Errors
            /// The groups do not divide the channels; the device is out of memory.
            pub fn new(inputs: usize, outputs: usize, kernel: [usize; $axes], options: $options, init: &Init) -> Result<Self> {
                let shape: fn(usize, usize, usize) -> [usize; 2] = $weight_shape;
                let (weight, bias) = weight_and_bias(stringify!($name), [inputs, outputs, options.groups], shape, &kernel, init)?;
                Ok(Self { weight, bias: Some(bias), options })
            }

            /// The layer without its bias.
            #[must_use]
            pub fn without_bias(mut self) -> Self {
                self.bias = None;
                self
            }
        }

        impl Module for $name {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                let bias = self.bias.as_ref().map(Param::tensor);
                observe(self, stringify!($name), x.$method(&self.weight.tensor(), bias.as_ref(), self.options))
            }
            fields!(weight, bias; skip options);
        }
    };
}

layer! {
    /// [`Tensor::conv1d`] of `[n, ci, l]` with a learned weight and bias.
    Conv1d, 1, ConvNdOptions<1>, conv1d,
    "`[co, ci/groups, k]`.", |inputs, outputs, groups| [outputs, inputs / groups]
}
layer! {
    /// [`Tensor::conv3d`] of `[n, ci, d, h, w]` with a learned weight and bias.
    Conv3d, 3, ConvNdOptions<3>, conv3d,
    "`[co, ci/groups, kd, kh, kw]`.", |inputs, outputs, groups| [outputs, inputs / groups]
}
layer! {
    /// [`Tensor::conv_transpose1d`] of `[n, ci, l]` with a learned weight and bias.
    ConvTranspose1d, 1, ConvTransposeOptions<1>, conv_transpose1d,
    "`[ci, co/groups, k]`.", |inputs, outputs, groups| [inputs, outputs / groups]
}
layer! {
    /// [`Tensor::conv_transpose2d`] of `[n, ci, h, w]` with a learned weight and bias.
    ConvTranspose2d, 2, ConvTransposeOptions<2>, conv_transpose2d,
    "`[ci, co/groups, kh, kw]`.", |inputs, outputs, groups| [inputs, outputs / groups]
}
layer! {
    /// [`Tensor::conv_transpose3d`] of `[n, ci, d, h, w]` with a learned weight and bias.
    ConvTranspose3d, 3, ConvTransposeOptions<3>, conv_transpose3d,
    "`[ci, co/groups, kd, kh, kw]`.", |inputs, outputs, groups| [inputs, outputs / groups]
}

/// PyTorch's defaults: both uniform in ±`1/√fan_in`, where the fan-in is the weight's second axis times the taps.
fn weight_and_bias(
    kind: &'static str,
    [inputs, outputs, groups]: [usize; 3],
    shape: fn(usize, usize, usize) -> [usize; 2],
    kernel: &[usize],
    init: &Init,
) -> Result<(Param, Param)> {
    if groups == 0 || !inputs.is_multiple_of(groups) || !outputs.is_multiple_of(groups) {
        let reason = format!("{groups} groups do not divide {inputs} input and {outputs} output channels");
        return Err(Error::argument(kind, reason, "use a number of groups that divides both"));
    }
    let mut dims = shape(inputs, outputs, groups).to_vec();
    dims.extend(kernel);
    let shape = Shape::new(&dims)?;
    let (fan_in, _) = init::fans(&shape)?;
    let weight = Param::new(&init::kaiming_uniform(shape, 5f64.sqrt(), init)?)?;
    weight.set_name("weight");
    let bound = if fan_in == 0 { 0.0 } else { 1.0 / (fan_in as f64).sqrt() };
    let bias = Param::new(&init.uniform(outputs, bound)?)?;
    bias.set_name("bias");
    Ok((weight, bias))
}
