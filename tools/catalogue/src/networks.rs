//! Networks in training.

use std::fmt;
use std::str::FromStr;
use std::time::Instant;
use wgrad::nn::loss::{Reduction, cross_entropy};
use wgrad::nn::models::{
    Gpt, GptConfig, LeNet, M5, M5Config, Mlp, MobileNetConfig, MobileNetV2, ResNet, ResNetConfig, UNet, UNetConfig,
};
use wgrad::nn::{Init, Module};
use wgrad::optim::{Adam, AdamConfig, Optimizer};
use wgrad::{Device, Result, Tensor};

/// A network with a batch of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// 784-512-512-10, 128 rows.
    Mlp,
    /// 64 digits of 28x28.
    LeNet,
    /// The form for small images: 64 of 32x32.
    ResNet18Cifar,
    /// 32 images of 224x224.
    ResNet18,
    /// MobileNetV2, 32 images of 224x224.
    MobileNet,
    /// Of width 16, 8 images of 128x128.
    UNet,
    /// 32 recordings of 8,000 samples.
    M5,
    /// 4 layers of 128, 32 texts of 64 tokens.
    GptMini,
    /// GPT-2 small: 12 layers of 768, 8 texts of 256 tokens.
    GptSmall,
}

impl Network {
    /// All of them, the quickest first.
    pub const ALL: [Self; 9] = [
        Self::Mlp,
        Self::LeNet,
        Self::M5,
        Self::GptMini,
        Self::UNet,
        Self::ResNet18Cifar,
        Self::ResNet18,
        Self::MobileNet,
        Self::GptSmall,
    ];

    /// What commands and tables call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mlp => "mlp",
            Self::LeNet => "lenet",
            Self::ResNet18Cifar => "resnet18-cifar",
            Self::ResNet18 => "resnet18",
            Self::MobileNet => "mobilenet",
            Self::UNet => "unet",
            Self::M5 => "m5",
            Self::GptMini => "gpt-mini",
            Self::GptSmall => "gpt-small",
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Self, String> {
        let known = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|n| n.name() == name)
            .ok_or_else(|| format!("there is no such network; there are: {}", known()))
    }
}

/// A network, its optimizer and a batch.
pub struct Training {
    device: Device,
    model: Box<dyn Module>,
    adam: Adam,
    input: Input,
    labels: Vec<i32>,
    classes: usize,
    loss: f64,
}

enum Input {
    Numbers(Vec<f32>, Vec<usize>),
    Tokens(Vec<i32>, Vec<usize>),
}

impl Training {
    /// A network with weights and data that are always the same.
    ///
    /// # Errors
    /// The device's.
    pub fn new(network: Network, device: &Device) -> Result<Self> {
        let init = Init::new(device, 0);
        let gpt = |n_layer, n_head, n_embd, block_size, vocab_size| {
            Gpt::new(GptConfig { n_layer, n_head, n_embd, block_size, vocab_size, ..GptConfig::default() }, &init)
        };
        let resnet =
            |small_images, classes| ResNet::new(ResNetConfig { small_images, classes, ..ResNetConfig::default() }, &init);
        let unet = UNetConfig { width: 16, ..UNetConfig::default() };
        let (model, shape, classes): (Box<dyn Module>, &[usize], usize) = match network {
            Network::Mlp => (Box::new(Mlp::new(&[784, 512, 512, 10], &init)?), &[128, 784], 10),
            Network::LeNet => (Box::new(LeNet::new(1, 10, &init)?), &[64, 1, 28, 28], 10),
            Network::ResNet18Cifar => (Box::new(resnet(true, 10)?), &[64, 3, 32, 32], 10),
            Network::ResNet18 => (Box::new(resnet(false, 1000)?), &[32, 3, 224, 224], 1000),
            Network::MobileNet => (Box::new(MobileNetV2::new(MobileNetConfig::default(), &init)?), &[32, 3, 224, 224], 1000),
            Network::UNet => (Box::new(UNet::new(unet, &init)?), &[8, 3, 128, 128], 2),
            Network::M5 => (Box::new(M5::new(M5Config { classes: 35, ..M5Config::default() }, &init)?), &[32, 1, 8000], 35),
            Network::GptMini => (Box::new(gpt(4, 4, 128, 64, 83)?), &[32, 64], 83),
            Network::GptSmall => (Box::new(gpt(12, 12, 768, 256, 50_257)?), &[8, 256], 50_257),
        };
        let adam = Adam::new(&model.parameters()?, AdamConfig::default())?;
        let count: usize = shape.iter().product();
        let number = |i: usize, below: usize| i32::try_from(i * 31 % below).unwrap_or(0);
        let (input, labels) = if matches!(network, Network::GptMini | Network::GptSmall) {
            (Input::Tokens((0..count).map(|i| number(i, classes)).collect(), shape.to_vec()), count)
        } else {
            let pixels = if network == Network::UNet { shape[2] * shape[3] } else { 1 };
            let data = (0..count).map(|i| (i * 7919 % 1009) as f32 / 1009.0).collect();
            (Input::Numbers(data, shape.to_vec()), shape[0] * pixels)
        };
        let labels = (0..labels).map(|i| number(i, classes)).collect();
        Ok(Self { device: device.clone(), model, adam, input, labels, classes, loss: f64::NAN })
    }

    /// How many parameters there are.
    ///
    /// # Errors
    /// The module's.
    pub fn parameters(&self) -> Result<usize> {
        Ok(self.model.parameters()?.len())
    }

    /// The last step's loss; NaN before the first.
    pub fn loss(&self) -> f64 {
        self.loss
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
        self.loss = loss.item()?;
        drop((loss, logits, x, labels));
        Ok([uploaded, forward, backward, stepped, now()])
    }
}
