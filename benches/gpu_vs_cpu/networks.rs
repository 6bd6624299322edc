//! The two networks that are trained, with Adam on cross-entropy.

use clap::ValueEnum;
use std::fmt;
use wgrad::nn::loss::{Reduction, cross_entropy};
use wgrad::nn::{Conv2d, ConvOptions, Flatten, Init, Linear, MaxPool2d, Module, Relu, Sequential};
use wgrad::optim::{Adam, AdamConfig, Optimizer};
use wgrad::{Device, Result, Tensor};

const CLASSES: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Network {
    /// 784-512-512-10.
    Mlp,
    /// Two 3 x 3 convolutions with pooling, two linear layers.
    Cnn,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Mlp => "MLP 784-512-512-10, batch 128",
            Self::Cnn => "CNN 28 x 28, batch 64",
        })
    }
}

impl Network {
    pub const ALL: [Self; 2] = [Self::Mlp, Self::Cnn];

    /// The name as an argument.
    pub fn argument(self) -> &'static str {
        match self {
            Self::Mlp => "mlp",
            Self::Cnn => "cnn",
        }
    }

    fn input(self) -> Vec<usize> {
        match self {
            Self::Mlp => vec![128, 784],
            Self::Cnn => vec![64, 1, 28, 28],
        }
    }

    /// Multiplications per image in each layer's forward pass.
    fn products(self) -> Vec<usize> {
        match self {
            Self::Mlp => vec![784 * 512, 512 * 512, 512 * CLASSES],
            Self::Cnn => vec![28 * 28 * 9 * 16, 14 * 14 * 9 * 16 * 32, 1568 * 128, 128 * CLASSES],
        }
    }

    /// Floating-point operations of a training step: the forward pass and two gradients per layer, except that of the images.
    pub fn flops(self) -> f64 {
        let products = self.products();
        let batch = self.input()[0];
        2.0 * (batch * (3 * products.iter().sum::<usize>() - products[0])) as f64
    }

    fn layers(self, init: &Init) -> Result<Sequential> {
        let same = ConvOptions::default().padding(1);
        Ok(match self {
            Self::Mlp => Sequential::new()
                .push(Linear::new(784, 512, init)?)
                .push(Relu)
                .push(Linear::new(512, 512, init)?)
                .push(Relu)
                .push(Linear::new(512, CLASSES, init)?),
            Self::Cnn => Sequential::new()
                .push(Conv2d::with(1, 16, 3, same, init)?)
                .push(Relu)
                .push(MaxPool2d::new(2))
                .push(Conv2d::with(16, 32, 3, same, init)?)
                .push(Relu)
                .push(MaxPool2d::new(2))
                .push(Flatten)
                .push(Linear::new(1568, 128, init)?)
                .push(Relu)
                .push(Linear::new(128, CLASSES, init)?),
        })
    }
}

/// A network in training, on one made-up batch that is uploaded anew for every step, as a loader would.
pub struct Training {
    device: Device,
    model: Sequential,
    adam: Adam,
    input: Vec<usize>,
    pixels: Vec<f32>,
    labels: Vec<i32>,
}

impl Training {
    #[allow(clippy::cast_possible_truncation, reason = "a few classes")]
    pub fn new(network: Network, device: &Device) -> Result<Self> {
        let model = network.layers(&Init::new(device, 0))?;
        let adam = Adam::new(&model.parameters()?, AdamConfig::default())?;
        let input = network.input();
        let pixels = (0..input.iter().product()).map(|i: usize| (i * 7919 % 1009) as f32 / 1009.0).collect();
        let labels = (0..CLASSES as i32).cycle().take(input[0]).collect();
        Ok(Self { device: device.clone(), model, adam, input, pixels, labels })
    }

    /// One step; waits for the loss.
    pub fn step(&mut self) -> Result<f64> {
        let images = Tensor::from_slice(&self.pixels, self.input.as_slice(), &self.device)?;
        let labels = Tensor::from_slice(&self.labels, [self.labels.len()], &self.device)?;
        let loss = cross_entropy(&self.model.forward(&images)?, &labels, Reduction::Mean)?;
        self.adam.step(loss.backward()?)?;
        loss.item()
    }
}
