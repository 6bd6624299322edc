//! What is measured, and the made-up batches.

use fastrand::Rng;
use std::rc::Rc;

/// Words that a tagger or a sentence encoder knows.
pub const WORDS: usize = 10_000;
/// Characters that the GPT knows.
pub const CHARACTERS: usize = 65;
/// Classes of small images, of time steps and of words.
pub const CLASSES: usize = 10;
/// Classes of large images.
pub const MANY_CLASSES: usize = 1000;
/// Spoken commands.
pub const COMMANDS: usize = 35;

/// What a network sees.
#[derive(Debug, Clone, Copy)]
enum Input {
    /// Numbers from -1 to 1.
    Numbers(&'static [usize]),
    /// Integers below the number.
    Tokens([usize; 2], usize),
}

/// A network on batches of one shape.
#[derive(Debug)]
pub struct Row {
    pub name: &'static str,
    pub network: Network,
    input: Input,
    /// The labels' shape and the number of classes; without them there is only the forward pass.
    labels: Option<(&'static [usize], usize)>,
}

/// The networks, which each program writes in its own library.
#[derive(Debug, Clone, Copy)]
pub enum Network {
    Mlp,
    Cnn,
    Gpt,
    M5,
    /// ResNet-18 for images of 224 x 224.
    ResNet,
    /// ResNet-18 for small images, of this width.
    SmallResNet(usize),
    ConvNext,
    Tagger,
    /// Two LSTM layers of 64, and a linear layer on each step's output.
    Lstm,
    UNet,
    MobileNet,
    SentenceEncoder,
    /// Three LSTM layers of 256, whose last output stands for the whole sequence.
    LstmEncoder,
}

const fn training(name: &'static str, network: Network, input: Input, labels: &'static [usize], classes: usize) -> Row {
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
    pub input: HostInput,
    /// Of the shape that the row has; none for a forward pass.
    pub labels: Vec<i32>,
}

pub enum HostInput {
    Numbers(Vec<f32>),
    Tokens(Vec<i32>),
}

/// How many batches there are, which steps take in turn.
const BATCHES: usize = 8;

impl Row {
    pub fn is_training(&self) -> bool {
        self.labels.is_some()
    }

    pub fn input_shape(&self) -> &[usize] {
        match &self.input {
            Input::Numbers(shape) => shape,
            Input::Tokens(shape, _) => shape,
        }
    }

    /// A label per image, time step, word or pixel.
    pub fn label_shape(&self) -> &[usize] {
        self.labels.map_or(&[], |(shape, _)| shape)
    }

    /// Made-up batches, again and again.
    pub fn batches(&self) -> impl Iterator<Item = Rc<Batch>> + use<> {
        let mut rng = Rng::with_seed(0);
        let batches: Vec<_> = (0..BATCHES).map(|_| self.batch(&mut rng).into()).collect();
        batches.into_iter().cycle()
    }

    fn batch(&self, rng: &mut Rng) -> Batch {
        let mut integers = |count: usize, below: usize| {
            let below = i32::try_from(below).unwrap_or(i32::MAX);
            (0..count).map(|_| rng.i32(0..below)).collect::<Vec<_>>()
        };
        let labels = self.labels.map(|(shape, classes)| integers(shape.iter().product(), classes)).unwrap_or_default();
        let input = match self.input {
            Input::Tokens([n, length], below) => HostInput::Tokens(integers(n * length, below)),
            Input::Numbers(shape) => HostInput::Numbers((0..shape.iter().product()).map(|_| 2.0 * rng.f32() - 1.0).collect()),
        };
        Batch { input, labels }
    }
}
