//! What is measured, and the made-up batches.

use crate::networks::{CHARACTERS, CLASSES, COMMANDS, MANY_CLASSES, Network, WORDS};
use fastrand::Rng;
use wgrad::{Device, Result, Tensor};

/// What a network sees.
#[derive(Debug, Clone, Copy)]
enum Input {
    /// Numbers from -1 to 1.
    Numbers(&'static [usize]),
    /// Integers below the number.
    Tokens([usize; 2], i32),
}

/// A network on batches of one shape.
#[derive(Debug)]
pub struct Row {
    pub name: &'static str,
    pub network: Network,
    input: Input,
    /// The labels' shape and the number of classes; without them there is only the forward pass.
    labels: Option<(&'static [usize], i32)>,
}

const fn training(name: &'static str, network: Network, input: Input, labels: &'static [usize], classes: i32) -> Row {
    Row { name, network, input, labels: Some((labels, classes)) }
}

const fn forward(name: &'static str, network: Network, input: Input) -> Row {
    Row { name, network, input, labels: None }
}

pub const ROWS: [Row; 20] = {
    use Input::{Numbers, Tokens};
    use Network as N;
    [
        training("mlp", N::Mlp, Numbers(&[128, 784]), &[128], CLASSES),
        training("cnn", N::Cnn, Numbers(&[64, 1, 28, 28]), &[64], CLASSES),
        training("gpt", N::Gpt, Tokens([16, 128], CHARACTERS), &[16 * 128], CHARACTERS),
        training("m5", N::M5, Numbers(&[16, 1, 8000]), &[16], COMMANDS),
        training("resnet18-224", N::ResNet, Numbers(&[2, 3, 224, 224]), &[2], MANY_CLASSES),
        training("convnext", N::ConvNext, Numbers(&[16, 3, 32, 32]), &[16], CLASSES),
        training("tagger", N::Tagger, Tokens([32, 50], WORDS), &[32 * 50], CLASSES),
        training("lstm", N::Lstm, Numbers(&[200, 32, 64]), &[200 * 32], CLASSES),
        training("resnet18-narrow-8", N::SmallResNet(16), Numbers(&[64, 3, 8, 8]), &[64], CLASSES),
        training("resnet18-narrow-16", N::SmallResNet(16), Numbers(&[64, 3, 16, 16]), &[64], CLASSES),
        training("resnet18-narrow-32", N::SmallResNet(16), Numbers(&[64, 3, 32, 32]), &[64], CLASSES),
        training("resnet18-32", N::SmallResNet(64), Numbers(&[16, 3, 32, 32]), &[16], CLASSES),
        training("unet", N::UNet, Numbers(&[4, 3, 64, 64]), &[4, 64, 64], 2),
        training("mobilenet", N::MobileNet, Numbers(&[4, 3, 224, 224]), &[4], MANY_CLASSES),
        forward("forward-mobilenet-1", N::MobileNet, Numbers(&[1, 3, 224, 224])),
        forward("forward-mobilenet-8", N::MobileNet, Numbers(&[8, 3, 224, 224])),
        forward("forward-encoder-1", N::SentenceEncoder, Tokens([1, 40], WORDS)),
        forward("forward-encoder-10", N::SentenceEncoder, Tokens([10, 40], WORDS)),
        forward("forward-lstm-1", N::LstmEncoder, Numbers(&[160, 1, 40])),
        forward("forward-lstm-16", N::LstmEncoder, Numbers(&[160, 16, 40])),
    ]
};

/// A batch in host memory, as a data loader hands it over.
pub struct Batch {
    input: HostInput,
    labels: Vec<i32>,
}

enum HostInput {
    Numbers(Vec<f32>),
    Tokens(Vec<i32>),
}

impl Row {
    pub fn is_training(&self) -> bool {
        self.labels.is_some()
    }

    pub fn batch(&self, rng: &mut Rng) -> Batch {
        let mut integers = |count: usize, below: i32| (0..count).map(|_| rng.i32(0..below)).collect::<Vec<_>>();
        let labels = self.labels.map(|(shape, classes)| integers(shape.iter().product(), classes)).unwrap_or_default();
        let input = match self.input {
            Input::Tokens([n, length], below) => HostInput::Tokens(integers(n * length, below)),
            Input::Numbers(shape) => HostInput::Numbers((0..shape.iter().product()).map(|_| 2.0 * rng.f32() - 1.0).collect()),
        };
        Batch { input, labels }
    }

    /// The inputs on a device.
    pub fn input(&self, batch: &Batch, device: &Device) -> Result<Tensor> {
        let shape = match &self.input {
            Input::Numbers(shape) => shape,
            Input::Tokens(shape, _) => &shape[..],
        };
        match &batch.input {
            HostInput::Numbers(numbers) => Tensor::from_slice(numbers, shape, device),
            HostInput::Tokens(tokens) => Tensor::from_slice(tokens, shape, device),
        }
    }

    /// The mean cross-entropy of a network's output with the batch's labels.
    pub fn loss(&self, output: &Tensor, batch: &Batch, device: &Device) -> Result<Tensor> {
        let shape = self.labels.map_or(&[][..], |(shape, _)| shape);
        let labels = Tensor::from_slice(&batch.labels, shape, device)?;
        // Time steps and words count as examples; pixels keep their axes.
        let logits = if let [count] = shape { output.reshape([*count, output.dim(-1)?]) } else { output.clone() };
        Ok(logits.cross_entropy(&labels))
    }
}
