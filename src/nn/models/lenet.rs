//! LeNet-5.

use crate::error::Result;
use crate::nn::{Conv2d, ConvOptions, Flatten, Init, Linear, Module, fields};
use crate::tensor::Tensor;

/// LeNet-5 with ReLU and max pooling: images `[n, c, 28, 28]`, padded to 32, to logits `[n, classes]`.
///
/// Source: Y. LeCun et al., "Gradient-based learning applied to document recognition", 1998.
#[derive(Debug)]
#[must_use = "a layer computes nothing until its forward is called"]
pub struct LeNet {
    /// `[6, c, 5, 5]`.
    pub conv1: Conv2d,
    /// `[16, 6, 5, 5]`.
    pub conv2: Conv2d,
    /// `[120, 400]`.
    pub fc1: Linear,
    /// `[84, 120]`.
    pub fc2: Linear,
    /// The head, `[classes, 84]`.
    pub fc3: Linear,
}

impl LeNet {
    /// A model for images of `channels` channels and for `classes` classes.
    ///
    /// # Errors
    /// The device is out of memory.
    #[track_caller]
    pub fn new(channels: usize, classes: usize, init: &Init) -> Result<Self> {
        Ok(Self {
            conv1: Conv2d::with(channels, 6, 5, ConvOptions::default().padding(2), init)?,
            conv2: Conv2d::new(6, 16, 5, init)?,
            fc1: Linear::new(400, 120, init)?,
            fc2: Linear::new(120, 84, init)?,
            fc3: Linear::new(84, classes, init)?,
        })
    }
}

impl Module for LeNet {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.conv1.forward(x)?.relu().max_pool2d(2);
        let x = self.conv2.forward(&x)?.relu().max_pool2d(2);
        let x = self.fc1.forward(&Flatten.forward(&x)?)?.relu();
        self.fc3.forward(&self.fc2.forward(&x)?.relu())
    }
    fields!(conv1, conv2, fc1, fc2, fc3);
}
