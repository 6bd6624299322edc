//! A convolutional network for waveforms.

use crate::error::Result;
use crate::nn::transfer::replace_head;
use crate::nn::{BatchNorm1d, Conv1d, Init, Linear, Module, fields};
use crate::shape::product;
use crate::site::Caller;
use crate::tensor::{ConvOptions, Tensor};
use std::panic::Location;

/// Settings of an [`M5`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct M5Config {
    /// Defaults to 1.
    pub channels: usize,
    /// Defaults to 35.
    pub classes: usize,
    /// Step of the first window of 80 samples. Defaults to 16.
    pub stride: usize,
    /// Channels of the first two convolutions, half as many as in the others. Defaults to 32.
    pub width: usize,
}

impl Default for M5Config {
    fn default() -> Self {
        Self { channels: 1, classes: 35, stride: 16, width: 32 }
    }
}

/// The M5 network on raw samples: `[n, c, samples]` to logits `[n, classes]`, under the names of PyTorch's speech-command
/// tutorial.
///
/// Source: W. Dai et al., "Very deep convolutional neural networks for raw waveforms", 2016.
#[derive(Debug)]
#[must_use = "a layer computes nothing until its forward is called"]
pub struct M5 {
    conv1: Conv1d,
    bn1: BatchNorm1d,
    conv2: Conv1d,
    bn2: BatchNorm1d,
    conv3: Conv1d,
    bn3: BatchNorm1d,
    conv4: Conv1d,
    bn4: BatchNorm1d,
    /// The head, `[classes, 2·width]`.
    pub fc1: Linear,
}

impl M5 {
    /// A model of the given settings.
    ///
    /// # Errors
    /// The device is out of memory.
    #[track_caller]
    pub fn new(config: M5Config, init: &Init) -> Result<Self> {
        let w = config.width;
        let twice = product(&[2, w]);
        Ok(Self {
            conv1: Conv1d::with(config.channels, w, 80, ConvOptions::default().stride(config.stride), init)?,
            bn1: BatchNorm1d::new(w, init)?,
            conv2: Conv1d::new(w, w, 3, init)?,
            bn2: BatchNorm1d::new(w, init)?,
            conv3: Conv1d::new(w, twice, 3, init)?,
            bn3: BatchNorm1d::new(twice, init)?,
            conv4: Conv1d::new(twice, twice, 3, init)?,
            bn4: BatchNorm1d::new(twice, init)?,
            fc1: Linear::new(twice, config.classes, init)?,
        })
    }

    /// What the head sees, `[n, 2·width]`.
    ///
    /// # Errors
    /// Samples that do not fit, or too few of them.
    #[track_caller]
    pub fn features(&self, x: &Tensor) -> Result<Tensor> {
        let _caller = Caller::of(Location::caller());
        let stages = [(&self.conv1, &self.bn1), (&self.conv2, &self.bn2), (&self.conv3, &self.bn3), (&self.conv4, &self.bn4)];
        let x = stages
            .into_iter()
            .try_fold(x.clone(), |x, (conv, bn)| Ok::<_, crate::Error>(bn.forward(&conv.forward(&x)?)?.relu().max_pool1d(4)))?;
        Ok(x.mean_dim(2isize))
    }

    /// Replaces `fc1` with a new head.
    ///
    /// # Errors
    /// It takes a different number of features.
    #[track_caller]
    pub fn set_head(&mut self, head: Linear) -> Result<()> {
        replace_head(&mut self.fc1, head)
    }
}

impl Module for M5 {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.fc1.forward(&self.features(x)?)
    }
    fields!(conv1, bn1, conv2, bn2, conv3, bn3, conv4, bn4, fc1);
}
