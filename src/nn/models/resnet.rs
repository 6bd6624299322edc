//! Residual networks.

use crate::error::Result;
use crate::nn::init::kaiming_normal;
use crate::nn::transfer::replace_head;
use crate::nn::{BatchNorm2d, Conv2d, ConvOptions, Fields, Init, Linear, Module, Sequential, fields};
use crate::param::Param;
use crate::shape::product;
use crate::site::Caller;
use crate::tensor::{PoolOptions, Tensor};
use std::panic::Location;

/// Sizes from the paper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResNetDepth {
    /// Basic blocks, 2 per stage.
    R18,
    /// Basic blocks, 3, 4, 6 and 3 in the four stages.
    R34,
    /// Bottlenecks, 3, 4, 6 and 3 in the four stages.
    R50,
}

/// Settings of a [`ResNet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResNetConfig {
    /// Defaults to ResNet-18.
    pub depth: ResNetDepth,
    /// Defaults to 1000.
    pub classes: usize,
    /// Defaults to 3.
    pub channels: usize,
    /// Channels of the first stage; each further stage doubles them. Defaults to 64.
    pub width: usize,
    /// A first convolution of 3 x 3 without stride and no pooling, for images of 32 x 32 or so. Defaults to false.
    pub small_images: bool,
}

impl Default for ResNetConfig {
    fn default() -> Self {
        Self { depth: ResNetDepth::R18, classes: 1000, channels: 3, width: 64, small_images: false }
    }
}

/// A convolution without bias, Kaiming-normal by its fan-out, as in torchvision.
#[track_caller]
pub(super) fn conv(sizes: [usize; 2], kernel: usize, stride: usize, groups: usize, init: &Init) -> Result<Conv2d> {
    let options = ConvOptions::default().stride(stride).padding((kernel - 1) / 2).groups(groups).bias(false);
    let mut conv = Conv2d::with(sizes[0], sizes[1], kernel, options, init)?;
    // The fan-in of the weight with its first two axes swapped is this one's fan-out.
    let turned = kaiming_normal([sizes[0] / groups.max(1), sizes[1], kernel, kernel], 0.0, init)?;
    conv.weight = Param::new(&turned.transpose(0, 1))?;
    conv.weight.set_name("weight");
    Ok(conv)
}

#[derive(Debug)]
struct Block {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    conv3: Option<Conv2d>,
    bn3: Option<BatchNorm2d>,
    downsample: Option<Sequential>,
}

impl Block {
    /// From `inputs` channels to `width`, or to four times `width` with a bottleneck.
    #[track_caller]
    fn new(inputs: usize, width: usize, stride: usize, bottleneck: bool, init: &Init) -> Result<Self> {
        let outputs = if bottleneck { product(&[4, width]) } else { width };
        let downsample = if stride != 1 || inputs != outputs {
            let project = Sequential::new().push(conv([inputs, outputs], 1, stride, 1, init)?);
            Some(project.push(BatchNorm2d::new(outputs, init)?))
        } else {
            None
        };
        // In a bottleneck the 3 x 3 convolution takes the stride, as in torchvision.
        let (first, second) = if bottleneck { (1, stride) } else { (stride, 1) };
        let (conv3, bn3) = if bottleneck {
            (Some(conv([width, outputs], 1, 1, 1, init)?), Some(BatchNorm2d::new(outputs, init)?))
        } else {
            (None, None)
        };
        Ok(Self {
            conv1: conv([inputs, width], if bottleneck { 1 } else { 3 }, first, 1, init)?,
            bn1: BatchNorm2d::new(width, init)?,
            conv2: conv([width, width], 3, second, 1, init)?,
            bn2: BatchNorm2d::new(width, init)?,
            conv3,
            bn3,
            downsample,
        })
    }
}

impl Module for Block {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let _caller = Caller::of(Location::caller());
        let mut y = self.bn1.forward(&self.conv1.forward(x)?)?.relu();
        y = self.bn2.forward(&self.conv2.forward(&y)?)?;
        if let (Some(conv), Some(bn)) = (&self.conv3, &self.bn3) {
            y = bn.forward(&conv.forward(&y.relu())?)?;
        }
        let shortcut = self.downsample.as_ref().map_or_else(|| Ok(x.clone()), |d| d.forward(x))?;
        Ok((y + shortcut).relu())
    }
    fields!(conv1, bn1, conv2, bn2, conv3, bn3, downsample);
}

/// A residual network under torchvision's names: images `[n, c, h, w]` to logits `[n, classes]`.
///
/// Source: K. He et al., "Deep residual learning for image recognition", 2015; torchvision's `resnet18`, `34` and `50`.
#[derive(Debug)]
#[must_use = "a layer computes nothing until its forward is called"]
pub struct ResNet {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    stages: [Vec<Block>; 4],
    /// The head, `[classes, features]`.
    pub fc: Linear,
    small_images: bool,
}

impl ResNet {
    /// A model of the given settings.
    ///
    /// # Errors
    /// The device is out of memory.
    #[track_caller]
    pub fn new(config: ResNetConfig, init: &Init) -> Result<Self> {
        let (counts, bottleneck) = match config.depth {
            ResNetDepth::R18 => ([2, 2, 2, 2], false),
            ResNetDepth::R34 => ([3, 4, 6, 3], false),
            ResNetDepth::R50 => ([3, 4, 6, 3], true),
        };
        let (kernel, stride) = if config.small_images { (3, 1) } else { (7, 2) };
        let mut stages = [const { Vec::new() }; 4];
        let mut inputs = config.width;
        for (s, stage) in stages.iter_mut().enumerate() {
            let width = product(&[config.width, 1 << s]);
            for i in 0..counts[s] {
                stage.push(Block::new(inputs, width, if s > 0 && i == 0 { 2 } else { 1 }, bottleneck, init)?);
                inputs = if bottleneck { product(&[4, width]) } else { width };
            }
        }
        Ok(Self {
            conv1: conv([config.channels, config.width], kernel, stride, 1, init)?,
            bn1: BatchNorm2d::new(config.width, init)?,
            stages,
            fc: Linear::new(inputs, config.classes, init)?,
            small_images: config.small_images,
        })
    }

    /// What the head sees: `[n, features]`.
    ///
    /// # Errors
    /// Images that do not fit.
    #[track_caller]
    pub fn features(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = self.bn1.forward(&self.conv1.forward(x)?)?.relu();
        if !self.small_images {
            x = x.max_pool2d_with(3, PoolOptions::default().stride(2).padding(1));
        }
        for block in self.stages.iter().flatten() {
            x = block.forward(&x)?;
        }
        Ok(x.mean_dim([2isize, 3]))
    }

    /// Replaces `fc` with a new head.
    ///
    /// # Errors
    /// It takes a different number of features.
    #[track_caller]
    pub fn set_head(&mut self, head: Linear) -> Result<()> {
        replace_head(&mut self.fc, head)
    }
}

impl Module for ResNet {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.fc.forward(&self.features(x)?)
    }

    fn fields(&self, fields: &mut Fields) {
        fields.add("conv1", &self.conv1);
        fields.add("bn1", &self.bn1);
        for (name, stage) in ["layer1", "layer2", "layer3", "layer4"].into_iter().zip(&self.stages) {
            fields.add(name, stage);
        }
        fields.add("fc", &self.fc);
    }
    crate::copies!(conv1, bn1, stages, fc, small_images);
}
