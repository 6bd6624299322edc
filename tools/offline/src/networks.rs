//! Networks in training.

use crate::error::{Error, Result};
use std::time::Instant;
use wgrad::nn::loss::{Reduction, cross_entropy};
use wgrad::nn::models::{
    Gpt, GptConfig, LeNet, M5, M5Config, Mlp, MobileNetConfig, MobileNetV2, ResNet, ResNetConfig, UNet, UNetConfig,
};
use wgrad::nn::{Init, Module};
use wgrad::optim::{Adam, AdamConfig, Optimizer};
use wgrad::{Device, Tensor};

/// The networks whose steps are counted.
pub const NETWORKS: [&str; 9] =
    ["mlp", "lenet", "resnet18-cifar", "resnet18", "mobilenet", "unet", "m5", "gpt-mini", "gpt-small"];

/// A network, its optimizer and a batch.
pub struct Training {
    device: Device,
    model: Box<dyn Module>,
    adam: Adam,
    input: Input,
    labels: Vec<i32>,
    classes: usize,
}

enum Input {
    Numbers(Vec<f32>, Vec<usize>),
    Tokens(Vec<i32>, Vec<usize>),
}

impl Training {
    /// One of [`NETWORKS`].
    ///
    /// # Errors
    /// [`Error::Unknown`], and errors of the device.
    pub fn new(network: &str, device: &Device) -> Result<Self> {
        let init = Init::new(device, 0);
        let gpt = |n_layer, n_head, n_embd, block_size, vocab_size| {
            Gpt::new(GptConfig { n_layer, n_head, n_embd, block_size, vocab_size, ..GptConfig::default() }, &init)
        };
        let resnet =
            |small_images, classes| ResNet::new(ResNetConfig { small_images, classes, ..ResNetConfig::default() }, &init);
        let unet = UNetConfig { width: 16, ..UNetConfig::default() };
        let (model, shape, classes): (Box<dyn Module>, &[usize], usize) = match network {
            "mlp" => (Box::new(Mlp::new(&[784, 512, 512, 10], &init)?), &[128, 784], 10),
            "lenet" => (Box::new(LeNet::new(1, 10, &init)?), &[64, 1, 28, 28], 10),
            "resnet18-cifar" => (Box::new(resnet(true, 10)?), &[64, 3, 32, 32], 10),
            "resnet18" => (Box::new(resnet(false, 1000)?), &[32, 3, 224, 224], 1000),
            "mobilenet" => (Box::new(MobileNetV2::new(MobileNetConfig::default(), &init)?), &[32, 3, 224, 224], 1000),
            "unet" => (Box::new(UNet::new(unet, &init)?), &[8, 3, 128, 128], 2),
            "m5" => (Box::new(M5::new(M5Config { classes: 35, ..M5Config::default() }, &init)?), &[32, 1, 8000], 35),
            "gpt-mini" => (Box::new(gpt(4, 4, 128, 64, 83)?), &[32, 64], 83),
            "gpt-small" => (Box::new(gpt(12, 12, 768, 256, 50_257)?), &[8, 256], 50_257),
            _ => return Err(Error::Unknown { what: "network", name: network.into(), known: NETWORKS.join(", ") }),
        };
        let adam = Adam::new(&model.parameters()?, AdamConfig::default())?;
        let count: usize = shape.iter().product();
        let number = |i: usize, below: usize| i32::try_from(i * 31 % below).unwrap_or(0);
        let (input, labels) = if network.starts_with("gpt") {
            (Input::Tokens((0..count).map(|i| number(i, classes)).collect(), shape.to_vec()), count)
        } else {
            let pixels = if network == "unet" { shape[2] * shape[3] } else { 1 };
            let data = (0..count).map(|i| (i * 7919 % 1009) as f32 / 1009.0).collect();
            (Input::Numbers(data, shape.to_vec()), shape[0] * pixels)
        };
        let labels = (0..labels).map(|i| number(i, classes)).collect();
        Ok(Self { device: device.clone(), model, adam, input, labels, classes })
    }

    /// How many parameters there are.
    ///
    /// # Errors
    /// The module's.
    pub fn parameters(&self) -> Result<usize> {
        Ok(self.model.parameters()?.len())
    }

    /// One step. The times at which it is through with upload, forward pass, gradients, optimizer step and reading, in µs.
    ///
    /// # Errors
    /// The device's.
    pub fn step(&mut self) -> Result<[f64; 5]> {
        let start = Instant::now();
        let now = || start.elapsed().as_secs_f64() * 1e6;
        let x = match &self.input {
            Input::Numbers(data, shape) => Tensor::from_slice(data, shape.as_slice(), &self.device)?,
            Input::Tokens(data, shape) => Tensor::from_slice(data, shape.as_slice(), &self.device)?,
        };
        let labels = Tensor::from_slice(&self.labels, [self.labels.len()], &self.device)?;
        let uploaded = now();
        let mut logits = self.model.forward(&x)?;
        if logits.shape()?.len() == 4 {
            logits = logits.permute(&[0, 2, 3, 1]);
        }
        let logits = logits.reshape([self.labels.len(), self.classes]);
        let loss = cross_entropy(&logits, &labels, Reduction::Mean)?;
        let forward = now();
        let gradients = loss.backward()?;
        let backward = now();
        self.adam.step(gradients)?;
        let stepped = now();
        loss.item()?;
        drop((loss, logits, x, labels));
        Ok([uploaded, forward, backward, stepped, now()])
    }
}
