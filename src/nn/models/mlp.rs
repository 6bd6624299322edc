//! A multilayer perceptron.

use crate::error::{Error, Result};
use crate::nn::{Dropout, Fields, Init, Linear, Module, Relu, Sequential};
use crate::tensor::Tensor;

/// Linear layers with ReLU and dropout between them: `[.., sizes[0]]` to `[.., sizes.last]`. Layers have the names of
/// `torchvision.ops.MLP`: linear layers are `0`, `3`, `6` ...
#[derive(Debug)]
#[must_use = "a layer computes nothing until its forward is called"]
pub struct Mlp {
    layers: Sequential,
}

impl Mlp {
    /// A model of the given widths, including input and output, without dropout.
    ///
    /// # Errors
    /// Fewer than two widths; the device is out of memory.
    #[track_caller]
    pub fn new(sizes: &[usize], init: &Init) -> Result<Self> {
        Self::with(sizes, 0.0, init)
    }

    /// A model that drops hidden elements with probability `dropout` in training.
    ///
    /// # Errors
    /// As [`Mlp::new`]; a dropout outside `0..=1`.
    #[track_caller]
    pub fn with(sizes: &[usize], dropout: f64, init: &Init) -> Result<Self> {
        if sizes.len() < 2 {
            return Err(Error::argument(
                "Mlp",
                format!("{} widths were given", sizes.len()),
                "give input, hidden and output widths",
            ));
        }
        let mut layers = Sequential::new();
        for (i, pair) in sizes.windows(2).enumerate() {
            layers = layers.push(Linear::new(pair[0], pair[1], init)?);
            if i + 2 < sizes.len() {
                layers = layers.push(Relu).push(Dropout::new(dropout, init)?);
            }
        }
        Ok(Self { layers })
    }
}

impl Module for Mlp {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.layers.forward(x)
    }
    fn fields(&self, fields: &mut Fields) {
        self.layers.fields(fields);
    }
    crate::copies!(layers);
}
