//! A U-Net.

use crate::error::{Error, Result};
use crate::nn::{
    BatchNorm2d, Conv2d, ConvOptions, ConvTranspose2d, Copier, Field, Fields, Init, Module, Relu, Sequential, fields,
};
use crate::shape::product;
use crate::tensor::{ConvTransposeOptions, Tensor};

/// Settings of a [`UNet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UNetConfig {
    /// Defaults to 3.
    pub channels: usize,
    /// Defaults to 2.
    pub classes: usize,
    /// Channels at full resolution; each level down doubles them. Defaults to 64.
    pub width: usize,
    /// How many times images are halved. Defaults to 4.
    pub levels: usize,
}

impl Default for UNetConfig {
    fn default() -> Self {
        Self { channels: 3, classes: 2, width: 64, levels: 4 }
    }
}

/// Two convolutions of 3 x 3, each normalised, with ReLU.
#[derive(Debug)]
struct DoubleConv {
    double_conv: Sequential,
}

impl DoubleConv {
    #[track_caller]
    fn new(inputs: usize, outputs: usize, init: &Init) -> Result<Self> {
        let same = ConvOptions::default().padding(1).bias(false);
        let mut layers = Sequential::new();
        for inputs in [inputs, outputs] {
            layers = layers.push(Conv2d::with(inputs, outputs, 3, same, init)?);
            layers = layers.push(BatchNorm2d::new(outputs, init)?).push(Relu);
        }
        Ok(Self { double_conv: layers })
    }
}

impl Module for DoubleConv {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.double_conv.forward(x)
    }
    fields!(double_conv);
}

#[derive(Debug)]
struct Up {
    up: ConvTranspose2d,
    conv: DoubleConv,
}

impl Field for Up {
    fn list(&self, fields: &mut Fields) {
        fields.add("up", &self.up);
        fields.add("conv", &self.conv);
    }

    fn copied(&self, copier: &mut Copier) -> Result<Self> {
        Ok(Self { up: copier.copy(&self.up)?, conv: copier.copy(&self.conv)? })
    }
}

/// A U-Net with padded convolutions, batch normalisation and transposed convolutions: images `[n, c, h, w]` to logits per pixel
/// `[n, classes, h, w]`. Names are those of milesial/Pytorch-UNet: `inc`, `down1`, `up1`, `outc` ...
///
/// Source: O. Ronneberger et al., "U-Net: convolutional networks for biomedical image segmentation", 2015.
#[derive(Debug)]
#[must_use = "a layer computes nothing until its forward is called"]
pub struct UNet {
    inc: DoubleConv,
    down: Vec<DoubleConv>,
    up: Vec<Up>,
    /// The head, a 1 x 1 convolution `[classes, width, 1, 1]`; `outc.conv` in state dicts.
    pub head: Conv2d,
}

impl UNet {
    /// A model of the given settings.
    ///
    /// # Errors
    /// The device is out of memory.
    #[track_caller]
    pub fn new(config: UNetConfig, init: &Init) -> Result<Self> {
        // Every level halves the image.
        if config.levels >= 32 {
            let reason = format!("{} levels were asked for", config.levels);
            return Err(Error::argument("UNet", reason, "use fewer than 32"));
        }
        let width = |level: usize| product(&[config.width, 1 << level]);
        let twice = ConvTransposeOptions::default().stride(2);
        let (mut down, mut up) = (Vec::new(), Vec::new());
        for l in 0..config.levels {
            down.push(DoubleConv::new(width(l), width(l + 1), init)?);
        }
        for l in (0..config.levels).rev() {
            let upsample = ConvTranspose2d::with(width(l + 1), width(l), 2, twice, init)?;
            up.push(Up { up: upsample, conv: DoubleConv::new(width(l + 1), width(l), init)? });
        }
        Ok(Self {
            inc: DoubleConv::new(config.channels, config.width, init)?,
            down,
            up,
            head: Conv2d::new(config.width, config.classes, 1, init)?,
        })
    }
}

impl Module for UNet {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let [_, _, h, w] = x.dims::<4>()?;
        if h >> self.down.len() == 0 || w >> self.down.len() == 0 {
            let reason = format!("images of {h} x {w} cannot be halved {} times", self.down.len());
            return Err(Error::argument("UNet", reason, "give larger images, or make the model with fewer levels"));
        }
        let mut skips = vec![self.inc.forward(x)?];
        for down in &self.down {
            let last = &skips[skips.len() - 1];
            skips.push(down.forward(&last.max_pool2d(2))?);
        }
        let Some(mut x) = skips.pop() else { return Err(Error::Internal("a U-Net without levels".into())) };
        for (up, skip) in self.up.iter().zip(skips.iter().rev()) {
            x = up.up.forward(&x)?;
            // Odd lengths come back one element short.
            let ([_, _, h, w], [_, _, sh, sw]) = (x.dims::<4>()?, skip.dims::<4>()?);
            let (dy, dx) = (sh - h, sw - w);
            x = x.pad(&[(0, 0), (0, 0), (dy / 2, dy - dy / 2), (dx / 2, dx - dx / 2)]);
            x = up.conv.forward(&Tensor::cat(&[skip, &x], 1))?;
        }
        self.head.forward(&x)
    }

    fn fields(&self, fields: &mut Fields) {
        fields.add("inc", &self.inc);
        for (i, down) in self.down.iter().enumerate() {
            fields.add(&format!("down{}.maxpool_conv.1", i + 1), down);
        }
        for (i, up) in self.up.iter().enumerate() {
            fields.add(&format!("up{}", i + 1), up);
        }
        fields.add("outc.conv", &self.head);
    }
    crate::copies!(inc, down, up, head);
}
