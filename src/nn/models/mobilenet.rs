//! MobileNetV2.

use super::resnet::conv;
use crate::error::{Error, Result};
use crate::nn::transfer::replace_head;
use crate::nn::{BatchNorm2d, Dropout, Fields, Init, Linear, Module, Relu6, Sequential, fields};
use crate::param::Param;
use crate::shape::product;
use crate::tensor::Tensor;

/// Settings of a [`MobileNetV2`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MobileNetConfig {
    /// Defaults to 1000.
    pub classes: usize,
    /// Defaults to 3.
    pub channels: usize,
    /// What all widths are multiplied by. Defaults to 1.
    pub width: f64,
    /// Dropout before the head. Defaults to 0.2.
    pub dropout: f64,
    /// No stride in the first convolution and in the second stage, for images of 32 x 32 or so. Defaults to false.
    pub small_images: bool,
}

impl Default for MobileNetConfig {
    fn default() -> Self {
        Self { classes: 1000, channels: 3, width: 1.0, dropout: 0.2, small_images: false }
    }
}

/// The nearest multiple of 8, at least 8, and not below nine tenths of the width.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "widths are small positive numbers")]
fn divisible(width: f64) -> usize {
    let rounded = ((width + 4.0) as usize / 8 * 8).max(8);
    if (rounded as f64) < 0.9 * width { rounded.saturating_add(8) } else { rounded }
}

/// Convolution, normalisation and ReLU6, named `0`, `1`, `2`.
#[track_caller]
fn conv_bn_relu(sizes: [usize; 2], kernel: usize, stride: usize, groups: usize, init: &Init) -> Result<Sequential> {
    let layers = Sequential::new().push(conv(sizes, kernel, stride, groups, init)?);
    Ok(layers.push(BatchNorm2d::new(sizes[1], init)?).push(Relu6))
}

/// Expands, filters channel by channel, projects.
#[derive(Debug)]
struct InvertedResidual {
    conv: Sequential,
    skip: bool,
}

impl InvertedResidual {
    fn new(inputs: usize, outputs: usize, stride: usize, expand: usize, init: &Init) -> Result<Self> {
        let hidden = product(&[inputs, expand]);
        let mut layers = Sequential::new();
        if expand != 1 {
            layers = layers.push(conv_bn_relu([inputs, hidden], 1, 1, 1, init)?);
        }
        layers = layers.push(conv_bn_relu([hidden, hidden], 3, stride, hidden, init)?);
        layers = layers.push(conv([hidden, outputs], 1, 1, 1, init)?).push(BatchNorm2d::new(outputs, init)?);
        Ok(Self { conv: layers, skip: stride == 1 && inputs == outputs })
    }
}

impl Module for InvertedResidual {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.conv.forward(x)?;
        Ok(if self.skip { x + y } else { y })
    }
    fields!(conv, skip);
}

/// MobileNetV2 under torchvision's names: images `[n, c, h, w]` to logits `[n, classes]`.
///
/// Source: M. Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", 2018; torchvision's `mobilenet_v2`.
#[derive(Debug)]
#[must_use = "a layer computes nothing until its forward is called"]
pub struct MobileNetV2 {
    features: Sequential,
    dropout: Dropout,
    /// The head, `[classes, features]`; `classifier.1` in state dicts.
    pub head: Linear,
}

impl MobileNetV2 {
    /// A model of the given settings.
    ///
    /// # Errors
    /// A width that is not positive; a dropout outside `0..=1`; the device is out of memory.
    #[track_caller]
    pub fn new(config: MobileNetConfig, init: &Init) -> Result<Self> {
        if !config.width.is_finite() || config.width <= 0.0 {
            return Err(Error::argument("MobileNetV2", format!("the width is {}", config.width), "use a positive factor"));
        }
        let stride = |s: usize| if config.small_images { 1 } else { s };
        let mut inputs = divisible(32.0 * config.width);
        let mut features = Sequential::new().push(conv_bn_relu([config.channels, inputs], 3, stride(2), 1, init)?);
        // Expansion, channels, blocks, stride: the paper's table 2.
        let rows = [
            (1, 16.0, 1, 1),
            (6, 24.0, 2, stride(2)),
            (6, 32.0, 3, 2),
            (6, 64.0, 4, 2),
            (6, 96.0, 3, 1),
            (6, 160.0, 3, 2),
            (6, 320.0, 1, 1),
        ];
        for (expand, channels, count, stride) in rows {
            let outputs = divisible(channels * config.width);
            for i in 0..count {
                let block = InvertedResidual::new(inputs, outputs, if i == 0 { stride } else { 1 }, expand, init)?;
                features = features.push(block);
                inputs = outputs;
            }
        }
        let last = divisible(1280.0 * config.width.max(1.0));
        features = features.push(conv_bn_relu([inputs, last], 1, 1, 1, init)?);
        let mut head = Linear::new(last, config.classes, init)?;
        // torchvision's: normal weights, no shift.
        head.weight = Param::new(&init.normal([config.classes, last], 0.01)?)?;
        head.weight.set_name("weight");
        if let Some(bias) = &head.bias {
            bias.set(&init.constant(config.classes, 0.0)?)?;
        }
        Ok(Self { features, dropout: Dropout::new(config.dropout, init)?, head })
    }

    /// What the head sees, `[n, features]`.
    ///
    /// # Errors
    /// Images that do not fit.
    #[track_caller]
    pub fn features(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.features.forward(x)?.mean_dim([2isize, 3]))
    }

    /// Replaces the head with a new one.
    ///
    /// # Errors
    /// It takes a different number of features.
    #[track_caller]
    pub fn set_head(&mut self, head: Linear) -> Result<()> {
        replace_head(&mut self.head, head)
    }
}

impl Module for MobileNetV2 {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.head.forward(&self.dropout.forward(&self.features(x)?)?)
    }

    fn fields(&self, fields: &mut Fields) {
        fields.add("features", &self.features);
        fields.add("classifier.0", &self.dropout);
        fields.add("classifier.1", &self.head);
    }
    crate::copies!(features, dropout, head);
}
