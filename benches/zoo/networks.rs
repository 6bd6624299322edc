//! The networks. Those that the library has ready come from `wgrad::nn::models`; the others are written here as a user would.

use super::shared::rows::{CHARACTERS, CLASSES, COMMANDS, MANY_CLASSES, Network, WORDS};
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

/// A network with random weights.
pub fn build(network: Network, init: &Init) -> Result<Box<dyn Module>> {
    let layers = |num_layers| RecurrentConfig { num_layers, ..RecurrentConfig::default() };
    Ok(match network {
        Network::Mlp => Box::new(Mlp::new(&[784, 512, 512, CLASSES], init)?),
        Network::Cnn => Box::new(cnn(init)?),
        Network::Gpt => {
            let sizes = GptConfig { vocab_size: CHARACTERS, block_size: 128, n_layer: 4, ..GptConfig::default() };
            Box::new(Gpt::new(GptConfig { n_head: 4, n_embd: 128, ..sizes }, init)?)
        }
        Network::M5 => Box::new(M5::new(M5Config { classes: COMMANDS, ..M5Config::default() }, init)?),
        Network::ResNet => Box::new(ResNet::new(ResNetConfig { classes: MANY_CLASSES, ..ResNetConfig::default() }, init)?),
        Network::SmallResNet(width) => {
            let small = ResNetConfig { classes: CLASSES, width, small_images: true, ..ResNetConfig::default() };
            Box::new(ResNet::new(small, init)?)
        }
        Network::ConvNext => Box::new(convnext(init)?),
        Network::Tagger => {
            let sizes = TaggerConfig { vocab_size: WORDS, tags: CLASSES, ..TaggerConfig::default() };
            Box::new(LstmTagger::new(TaggerConfig { embedding_dim: 128, hidden_dim: 128, ..sizes }, init)?)
        }
        Network::Lstm => Box::new(sequential![Lstm::with(64, 64, layers(2), init)?, Linear::new(64, CLASSES, init)?]),
        Network::UNet => Box::new(UNet::new(UNetConfig { width: 16, ..UNetConfig::default() }, init)?),
        Network::MobileNet => {
            let config = MobileNetConfig { classes: MANY_CLASSES, ..MobileNetConfig::default() };
            Box::new(MobileNetV2::new(config, init)?)
        }
        Network::SentenceEncoder => Box::new(SentenceEncoder::new(init)?),
        Network::LstmEncoder => Box::new(LstmEncoder { lstm: Lstm::with(40, 256, layers(3), init)? }),
    })
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
        Linear::new(128, CLASSES, init)?,
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
    Ok(layers.push(GlobalAvgPool).push(Flatten).push(LayerNorm::new([last], init)?).push(Linear::new(last, CLASSES, init)?))
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
            words: Embedding::new(WORDS, Self::WIDTH, init)?,
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
