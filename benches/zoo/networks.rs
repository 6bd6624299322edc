//! The networks. Those that the library has ready come from `wgrad::nn::models`; the others are written here as a user would.

use wgrad::nn::models::{
    Gpt, GptConfig, LstmTagger, M5, M5Config, Mlp, MobileNetConfig, MobileNetV2, ResNet, ResNetConfig, TaggerConfig, UNet,
    UNetConfig,
};
use wgrad::nn::{
    Conv2d, ConvOptions, Embedding, FeedForward, Flatten, GlobalAvgPool, Init, LayerNorm, Linear, Lstm, MaxPool2d, Module,
    RecurrentConfig, Relu, Residual, Sequential, TransformerConfig, TransformerEncoder, TransformerEncoderLayer, fields,
    sequential,
};
use wgrad::{Param, Result, Tensor};

/// Words that a tagger or a sentence encoder knows.
pub const WORDS: i32 = 10_000;
/// Characters that the GPT knows.
pub const CHARACTERS: i32 = 65;
/// Classes of small images, of time steps and of words.
pub const CLASSES: i32 = 10;
/// Classes of large images.
pub const MANY_CLASSES: i32 = 1000;
/// Spoken commands.
pub const COMMANDS: i32 = 35;

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

fn size(n: i32) -> usize {
    n.unsigned_abs() as usize
}

impl Network {
    pub fn build(self, init: &Init) -> Result<Box<dyn Module>> {
        let layers = |num_layers| RecurrentConfig { num_layers, ..RecurrentConfig::default() };
        Ok(match self {
            Self::Mlp => Box::new(Mlp::new(&[784, 512, 512, size(CLASSES)], init)?),
            Self::Cnn => Box::new(cnn(init)?),
            Self::Gpt => {
                let sizes = GptConfig { vocab_size: size(CHARACTERS), block_size: 128, n_layer: 4, ..GptConfig::default() };
                Box::new(Gpt::new(GptConfig { n_head: 4, n_embd: 128, ..sizes }, init)?)
            }
            Self::M5 => Box::new(M5::new(M5Config { classes: size(COMMANDS), ..M5Config::default() }, init)?),
            Self::ResNet => Box::new(ResNet::new(ResNetConfig { classes: size(MANY_CLASSES), ..ResNetConfig::default() }, init)?),
            Self::SmallResNet(width) => {
                let small = ResNetConfig { classes: size(CLASSES), width, small_images: true, ..ResNetConfig::default() };
                Box::new(ResNet::new(small, init)?)
            }
            Self::ConvNext => Box::new(convnext(init)?),
            Self::Tagger => {
                let sizes = TaggerConfig { vocab_size: size(WORDS), tags: size(CLASSES), ..TaggerConfig::default() };
                Box::new(LstmTagger::new(TaggerConfig { embedding_dim: 128, hidden_dim: 128, ..sizes }, init)?)
            }
            Self::Lstm => Box::new(sequential![Lstm::with(64, 64, layers(2), init)?, Linear::new(64, size(CLASSES), init)?]),
            Self::UNet => Box::new(UNet::new(UNetConfig { width: 16, ..UNetConfig::default() }, init)?),
            Self::MobileNet => {
                let config = MobileNetConfig { classes: size(MANY_CLASSES), ..MobileNetConfig::default() };
                Box::new(MobileNetV2::new(config, init)?)
            }
            Self::SentenceEncoder => Box::new(SentenceEncoder::new(init)?),
            Self::LstmEncoder => Box::new(LstmEncoder { lstm: Lstm::with(40, 256, layers(3), init)? }),
        })
    }
}

fn cnn(init: &Init) -> Result<Sequential> {
    let same = ConvOptions::default().padding(1);
    Ok(sequential![
        Conv2d::with(1, 16, 3, same, init)?,
        Relu,
        MaxPool2d::new(2),
        Conv2d::with(16, 32, 3, same, init)?,
        Relu,
        MaxPool2d::new(2),
        Flatten,
        Linear::new(1568, 128, init)?,
        Relu,
        Linear::new(128, size(CLASSES), init)?,
    ])
}

/// Layer normalisation over the channels of images `[n, c, h, w]`.
#[derive(Debug)]
struct ChannelNorm {
    norm: LayerNorm,
}

impl Module for ChannelNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.norm.forward(&x.permute(&[0, 2, 3, 1]))?.permute(&[0, 3, 1, 2]))
    }
    fields!(norm);
}

impl ChannelNorm {
    fn new(channels: usize, init: &Init) -> Result<Self> {
        Ok(Self { norm: LayerNorm::new([channels], init)? })
    }
}

/// The branch of a ConvNeXt block: a depthwise convolution, then a perceptron on each pixel's channels.
#[derive(Debug)]
struct ConvNextBranch {
    depthwise: Conv2d,
    norm: LayerNorm,
    expand: Linear,
    contract: Linear,
    scale: Param,
}

impl ConvNextBranch {
    fn new(channels: usize, init: &Init) -> Result<Self> {
        Ok(Self {
            depthwise: Conv2d::with(channels, channels, 7, ConvOptions::default().padding(3).groups(channels), init)?,
            norm: LayerNorm::new([channels], init)?,
            expand: Linear::new(channels, 4 * channels, init)?,
            contract: Linear::new(4 * channels, channels, init)?,
            scale: Param::new(&init.constant([channels], 1e-6)?)?,
        })
    }
}

impl Module for ConvNextBranch {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.norm.forward(&self.depthwise.forward(x)?.permute(&[0, 2, 3, 1]))?;
        let x = self.contract.forward(&self.expand.forward(&x)?.gelu())?;
        Ok((x * self.scale.tensor()).permute(&[0, 3, 1, 2]))
    }
    fields!(depthwise, norm, expand, contract, scale);
}

/// Three stages of two blocks on patches of 2 x 2 pixels.
///
/// Source: Z. Liu et al., "A ConvNet for the 2020s", 2022.
fn convnext(init: &Init) -> Result<Sequential> {
    let halve = ConvOptions::default().stride(2);
    let widths = [32, 64, 128];
    let mut layers = sequential![Conv2d::with(3, widths[0], 2, halve, init)?, ChannelNorm::new(widths[0], init)?];
    for (stage, &width) in widths.iter().enumerate() {
        if stage > 0 {
            let before = widths[stage - 1];
            layers = layers.push(ChannelNorm::new(before, init)?).push(Conv2d::with(before, width, 2, halve, init)?);
        }
        for _ in 0..2 {
            layers = layers.push(Residual::new(ConvNextBranch::new(width, init)?));
        }
    }
    let [.., last] = widths;
    Ok(layers.push(GlobalAvgPool).push(Flatten).push(LayerNorm::new([last], init)?).push(Linear::new(last, size(CLASSES), init)?))
}

/// Embeddings of words and places, six transformer layers, and the mean over the words: `[n, l]` to `[n, 384]`.
#[derive(Debug)]
struct SentenceEncoder {
    words: Embedding,
    places: Embedding,
    norm: LayerNorm,
    encoder: TransformerEncoder,
}

impl SentenceEncoder {
    const WIDTH: usize = 384;
    const HEADS: usize = 12;
    const LAYERS: usize = 6;
    const LONGEST: usize = 512;

    fn new(init: &Init) -> Result<Self> {
        let config = TransformerConfig { dim_feedforward: 1536, activation: FeedForward::Gelu, ..TransformerConfig::default() };
        let layer = |_| TransformerEncoderLayer::with(Self::WIDTH, Self::HEADS, config, init);
        Ok(Self {
            words: Embedding::new(size(WORDS), Self::WIDTH, init)?,
            places: Embedding::new(Self::LONGEST, Self::WIDTH, init)?,
            norm: LayerNorm::new([Self::WIDTH], init)?,
            encoder: TransformerEncoder::new((0..Self::LAYERS).map(layer).collect::<Result<_>>()?, None),
        })
    }
}

impl Module for SentenceEncoder {
    fn forward(&self, words: &Tensor) -> Result<Tensor> {
        let [_, length] = words.dims::<2>()?;
        let x = self.words.forward(words)? + self.places.weight.tensor().slice(0, 0, length as isize);
        Ok(self.encoder.forward(&self.norm.forward(&x)?)?.mean_dim(1isize))
    }
    fields!(words, places, norm, encoder);
}

/// Sequences `[t, n, 40]` to the last layer's output after the last step, `[n, 256]`.
#[derive(Debug)]
struct LstmEncoder {
    lstm: Lstm,
}

impl Module for LstmEncoder {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.lstm.forward(x)?.select(0, -1))
    }
    fields!(lstm);
}
