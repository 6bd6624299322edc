//! The networks, as a user of Burn would write them.

use crate::shared::rows::{CHARACTERS, CLASSES, COMMANDS, MANY_CLASSES, WORDS};
use burn::module::{Initializer, Param};
use burn::nn::conv::{Conv1d, Conv1dConfig, Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig};
use burn::nn::pool::{AdaptiveAvgPool2d, AdaptiveAvgPool2dConfig, MaxPool1d, MaxPool1dConfig, MaxPool2d, MaxPool2dConfig};
use burn::nn::transformer::{TransformerEncoder, TransformerEncoderConfig, TransformerEncoderInput};
use burn::nn::{
    BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear,
    LinearConfig, Lstm, LstmConfig, PaddingConfig2d,
};
use burn::prelude::*;
use burn::tensor::activation::{gelu, relu};
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;

/// A network from a batch's inputs to logits, one row per label, or to outputs.
pub trait Network: Module {
    fn forward(&self, x: TensorData, device: &Device) -> Tensor<2>;
}

#[derive(Module, Debug)]
pub struct Mlp {
    layers: Vec<Linear>,
}

impl Mlp {
    pub fn new(device: &Device) -> Self {
        let sizes = [784, 512, 512, CLASSES];
        Self { layers: sizes.windows(2).map(|pair| LinearConfig::new(pair[0], pair[1]).init(device)).collect() }
    }
}

impl Network for Mlp {
    fn forward(&self, x: TensorData, device: &Device) -> Tensor<2> {
        let [first, second, last] = &self.layers[..] else { unreachable!() };
        let x = relu(first.forward(Tensor::from_data(x, device)));
        last.forward(relu(second.forward(x)))
    }
}

/// A square convolution that keeps the size, but for its stride.
fn conv(inputs: usize, outputs: usize, kernel: usize) -> Conv2dConfig {
    let padding = (kernel - 1) / 2;
    Conv2dConfig::new([inputs, outputs], [kernel, kernel])
        .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding))
}

#[derive(Module, Debug)]
pub struct Cnn {
    conv1: Conv2d,
    conv2: Conv2d,
    pool: MaxPool2d,
    linear1: Linear,
    linear2: Linear,
}

impl Cnn {
    pub fn new(device: &Device) -> Self {
        Self {
            conv1: conv(1, 16, 3).init(device),
            conv2: conv(16, 32, 3).init(device),
            pool: MaxPool2dConfig::new([2, 2]).init(),
            linear1: LinearConfig::new(1568, 128).init(device),
            linear2: LinearConfig::new(128, CLASSES).init(device),
        }
    }
}

impl Network for Cnn {
    fn forward(&self, x: TensorData, device: &Device) -> Tensor<2> {
        let x = self.pool.forward(relu(self.conv1.forward(Tensor::from_data(x, device))));
        let x = self.pool.forward(relu(self.conv2.forward(x)));
        self.linear2.forward(relu(self.linear1.forward(x.flatten::<2>(1, 3))))
    }
}

#[derive(Module, Debug)]
pub struct Gpt {
    wte: Embedding,
    wpe: Embedding,
    blocks: Vec<GptBlock>,
    norm: LayerNorm,
}

#[derive(Module, Debug)]
struct GptBlock {
    norm1: LayerNorm,
    attention: Linear,
    project: Linear,
    norm2: LayerNorm,
    expand: Linear,
    contract: Linear,
    heads: usize,
}

fn normal(std: f64) -> Initializer {
    Initializer::Normal { mean: 0.0, std }
}

impl Gpt {
    const WIDTH: usize = 128;
    const CONTEXT: usize = 128;
    const LAYERS: usize = 4;
    const HEADS: usize = 4;

    pub fn new(device: &Device) -> Self {
        let table = |rows| EmbeddingConfig::new(rows, Self::WIDTH).with_initializer(normal(0.02)).init(device);
        let residual = 0.02 / (2.0 * Self::LAYERS as f64).sqrt();
        let norm = || LayerNormConfig::new(Self::WIDTH).init(device);
        let linear = |inputs, outputs, std| LinearConfig::new(inputs, outputs).with_initializer(normal(std)).init(device);
        let block = |_| GptBlock {
            norm1: norm(),
            attention: linear(Self::WIDTH, 3 * Self::WIDTH, 0.02),
            project: linear(Self::WIDTH, Self::WIDTH, residual),
            norm2: norm(),
            expand: linear(Self::WIDTH, 4 * Self::WIDTH, 0.02),
            contract: linear(4 * Self::WIDTH, Self::WIDTH, residual),
            heads: Self::HEADS,
        };
        Self { wte: table(CHARACTERS), wpe: table(Self::CONTEXT), blocks: (0..Self::LAYERS).map(block).collect(), norm: norm() }
    }
}

impl GptBlock {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [n, length, width] = x.dims();
        let joined = self.attention.forward(self.norm1.forward(x.clone()));
        let part = |i: usize| {
            let part = joined.clone().narrow(2, i * width, width);
            part.reshape([n, length, self.heads, width / self.heads]).swap_dims(1, 2)
        };
        let causal = AttentionModuleOptions { is_causal: true, ..Default::default() };
        let y = attention(part(0), part(1), part(2), None, None, causal);
        let x = x + self.project.forward(y.swap_dims(1, 2).reshape([n, length, width]));
        let y = self.contract.forward(gelu(self.expand.forward(self.norm2.forward(x.clone()))));
        x + y
    }
}

/// The vectors of the first places, to be added to those of words.
fn places(table: &Embedding, length: usize) -> Tensor<3> {
    table.weight.val().narrow(0, 0, length).unsqueeze()
}

impl Network for Gpt {
    fn forward(&self, x: TensorData, device: &Device) -> Tensor<2> {
        let tokens = Tensor::<2, Int>::from_data(x, device);
        let [n, length] = tokens.dims();
        let x = self.wte.forward(tokens) + places(&self.wpe, length);
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        let x = self.norm.forward(x).reshape([n * length, Self::WIDTH]);
        // The head's weight is the table's.
        x.matmul(self.wte.weight.val().transpose())
    }
}

#[derive(Module, Debug)]
pub struct M5 {
    convs: Vec<Conv1d>,
    norms: Vec<BatchNorm>,
    pool: MaxPool1d,
    head: Linear,
}

impl M5 {
    pub fn new(device: &Device) -> Self {
        let stages = [(1, 32, 80, 16), (32, 32, 3, 1), (32, 64, 3, 1), (64, 64, 3, 1)];
        let conv =
            |(inputs, outputs, kernel, stride)| Conv1dConfig::new(inputs, outputs, kernel).with_stride(stride).init(device);
        Self {
            convs: stages.map(conv).into(),
            norms: stages.map(|(_, outputs, ..)| BatchNormConfig::new(outputs).init(device)).into(),
            pool: MaxPool1dConfig::new(4).init(),
            head: LinearConfig::new(64, COMMANDS).init(device),
        }
    }
}

impl Network for M5 {
    fn forward(&self, x: TensorData, device: &Device) -> Tensor<2> {
        let x =
            self.convs.iter().zip(&self.norms).fold(Tensor::<3>::from_data(x, device), |x, (conv, norm)| {
                self.pool.forward(relu(norm.forward(conv.forward(x))))
            });
        self.head.forward(x.mean_dim(2).flatten::<2>(1, 2))
    }
}

/// A convolution without bias, and batch normalisation.
#[derive(Module, Debug)]
struct ConvNorm {
    conv: Conv2d,
    norm: BatchNorm,
}

impl ConvNorm {
    fn new(sizes: [usize; 2], kernel: usize, stride: usize, groups: usize, device: &Device) -> Self {
        let conv = conv(sizes[0], sizes[1], kernel).with_stride([stride, stride]).with_groups(groups).with_bias(false);
        let fan_out = Initializer::KaimingNormal { gain: 2f64.sqrt(), fan_out_only: true };
        Self { conv: conv.with_initializer(fan_out).init(device), norm: BatchNormConfig::new(sizes[1]).init(device) }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.norm.forward(self.conv.forward(x))
    }
}

#[derive(Module, Debug)]
pub struct ResNet {
    stem: ConvNorm,
    pool: Option<MaxPool2d>,
    blocks: Vec<ResNetBlock>,
    average: AdaptiveAvgPool2d,
    head: Linear,
}

#[derive(Module, Debug)]
struct ResNetBlock {
    first: ConvNorm,
    second: ConvNorm,
    downsample: Option<ConvNorm>,
}

impl ResNet {
    pub fn new(width: usize, classes: usize, small: bool, device: &Device) -> Self {
        let (kernel, stride) = if small { (3, 1) } else { (7, 2) };
        let halve = MaxPool2dConfig::new([3, 3]).with_strides([2, 2]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
        let (mut blocks, mut inputs) = (Vec::new(), width);
        for stage in 0..4 {
            let outputs = width << stage;
            for block in 0..2 {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                blocks.push(ResNetBlock {
                    first: ConvNorm::new([inputs, outputs], 3, stride, 1, device),
                    second: ConvNorm::new([outputs, outputs], 3, 1, 1, device),
                    downsample: (inputs != outputs).then(|| ConvNorm::new([inputs, outputs], 1, stride, 1, device)),
                });
                inputs = outputs;
            }
        }
        Self {
            stem: ConvNorm::new([3, width], kernel, stride, 1, device),
            pool: (!small).then(|| halve.init()),
            blocks,
            average: AdaptiveAvgPool2dConfig::new([1, 1]).init(),
            head: LinearConfig::new(inputs, classes).init(device),
        }
    }
}

impl ResNetBlock {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.second.forward(relu(self.first.forward(x.clone())));
        let shortcut = match &self.downsample {
            Some(downsample) => downsample.forward(x),
            None => x,
        };
        relu(y + shortcut)
    }
}

impl Network for ResNet {
    fn forward(&self, x: TensorData, device: &Device) -> Tensor<2> {
        let mut x = relu(self.stem.forward(Tensor::from_data(x, device)));
        if let Some(pool) = &self.pool {
            x = pool.forward(x);
        }
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        self.head.forward(self.average.forward(x).flatten::<2>(1, 3))
    }
}

#[derive(Module, Debug)]
pub struct ConvNext {
    stem: Conv2d,
    stem_norm: LayerNorm,
    stages: Vec<ConvNextStage>,
    average: AdaptiveAvgPool2d,
    norm: LayerNorm,
    head: Linear,
}

#[derive(Module, Debug)]
struct ConvNextStage {
    norm: Option<LayerNorm>,
    downsample: Option<Conv2d>,
    blocks: Vec<ConvNextBlock>,
}

#[derive(Module, Debug)]
struct ConvNextBlock {
    depthwise: Conv2d,
    norm: LayerNorm,
    expand: Linear,
    contract: Linear,
    scale: Param<Tensor<1>>,
}

impl ConvNextBlock {
    fn new(channels: usize, device: &Device) -> Self {
        Self {
            depthwise: conv(channels, channels, 7).with_groups(channels).init(device),
            norm: LayerNormConfig::new(channels).init(device),
            expand: LinearConfig::new(channels, 4 * channels).init(device),
            contract: LinearConfig::new(4 * channels, channels).init(device),
            scale: Initializer::Constant { value: 1e-6 }.init([channels], device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.norm.forward(self.depthwise.forward(x.clone()).permute([0, 2, 3, 1]));
        let y = self.contract.forward(gelu(self.expand.forward(y))) * self.scale.val().unsqueeze();
        x + y.permute([0, 3, 1, 2])
    }
}

/// Layer normalisation over the channels of images.
fn channel_norm(norm: &LayerNorm, x: Tensor<4>) -> Tensor<4> {
    norm.forward(x.permute([0, 2, 3, 1])).permute([0, 3, 1, 2])
}

impl ConvNext {
    pub fn new(device: &Device) -> Self {
        let widths = [32, 64, 128];
        let halve = |inputs, outputs| Conv2dConfig::new([inputs, outputs], [2, 2]).with_stride([2, 2]).init(device);
        let norm = |width| LayerNormConfig::new(width).init(device);
        let stage = |i: usize| ConvNextStage {
            norm: (i > 0).then(|| norm(widths[i - 1])),
            downsample: (i > 0).then(|| halve(widths[i - 1], widths[i])),
            blocks: (0..2).map(|_| ConvNextBlock::new(widths[i], device)).collect(),
        };
        Self {
            stem: halve(3, widths[0]),
            stem_norm: norm(widths[0]),
            stages: (0..3).map(stage).collect(),
            average: AdaptiveAvgPool2dConfig::new([1, 1]).init(),
            norm: norm(widths[2]),
            head: LinearConfig::new(widths[2], CLASSES).init(device),
        }
    }
}

impl Network for ConvNext {
    fn forward(&self, x: TensorData, device: &Device) -> Tensor<2> {
        let mut x = channel_norm(&self.stem_norm, self.stem.forward(Tensor::from_data(x, device)));
        for stage in &self.stages {
            if let (Some(norm), Some(downsample)) = (&stage.norm, &stage.downsample) {
                x = downsample.forward(channel_norm(norm, x));
            }
            x = stage.blocks.iter().fold(x, |x, block| block.forward(x));
        }
        self.head.forward(self.norm.forward(self.average.forward(x).flatten::<2>(1, 3)))
    }
}

#[derive(Module, Debug)]
pub struct Tagger {
    words: Embedding,
    lstm: Lstm,
    head: Linear,
}

impl Tagger {
    pub fn new(device: &Device) -> Self {
        Self {
            words: EmbeddingConfig::new(WORDS, 128).init(device),
            lstm: LstmConfig::new(128, 128, true).init(device),
            head: LinearConfig::new(128, CLASSES).init(device),
        }
    }
}

impl Network for Tagger {
    fn forward(&self, x: TensorData, device: &Device) -> Tensor<2> {
        let (x, _) = self.lstm.forward(self.words.forward(Tensor::from_data(x, device)), None);
        self.head.forward(x).flatten(0, 1)
    }
}

/// LSTM layers on `[t, n, inputs]`, and a linear layer on each step's output; without one, the last output counts.
#[derive(Module, Debug)]
pub struct Lstms {
    layers: Vec<Lstm>,
    head: Option<Linear>,
}

impl Lstms {
    fn layers(inputs: usize, hidden: usize, count: usize, device: &Device) -> Vec<Lstm> {
        let layer = |i| LstmConfig::new(if i == 0 { inputs } else { hidden }, hidden, true).with_batch_first(false).init(device);
        (0..count).map(layer).collect()
    }

    pub fn tagging(device: &Device) -> Self {
        Self { layers: Self::layers(64, 64, 2, device), head: Some(LinearConfig::new(64, CLASSES).init(device)) }
    }

    pub fn encoding(device: &Device) -> Self {
        Self { layers: Self::layers(40, 256, 3, device), head: None }
    }
}

impl Network for Lstms {
    fn forward(&self, x: TensorData, device: &Device) -> Tensor<2> {
        let x = self.layers.iter().fold(Tensor::<3>::from_data(x, device), |x, layer| layer.forward(x, None).0);
        match &self.head {
            Some(head) => head.forward(x).flatten(0, 1),
            None => x.slice(s![-1, .., ..]).squeeze_dim(0),
        }
    }
}

#[derive(Module, Debug)]
pub struct UNet {
    inc: DoubleConv,
    pool: MaxPool2d,
    down: Vec<DoubleConv>,
    up: Vec<ConvTranspose2d>,
    convs: Vec<DoubleConv>,
    head: Conv2d,
}

#[derive(Module, Debug)]
struct DoubleConv {
    first: ConvNorm,
    second: ConvNorm,
}

impl DoubleConv {
    fn new(inputs: usize, outputs: usize, device: &Device) -> Self {
        let layer = |inputs| ConvNorm::new([inputs, outputs], 3, 1, 1, device);
        Self { first: layer(inputs), second: layer(outputs) }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        relu(self.second.forward(relu(self.first.forward(x))))
    }
}

impl UNet {
    pub fn new(device: &Device) -> Self {
        let width = |level: usize| 16 << level;
        let up = |level| ConvTranspose2dConfig::new([width(level + 1), width(level)], [2, 2]).with_stride([2, 2]).init(device);
        Self {
            inc: DoubleConv::new(3, width(0), device),
            pool: MaxPool2dConfig::new([2, 2]).init(),
            down: (0..4).map(|level| DoubleConv::new(width(level), width(level + 1), device)).collect(),
            up: (0..4).rev().map(up).collect(),
            convs: (0..4).rev().map(|level| DoubleConv::new(width(level + 1), width(level), device)).collect(),
            head: conv(width(0), 2, 1).init(device),
        }
    }
}

impl Network for UNet {
    fn forward(&self, x: TensorData, device: &Device) -> Tensor<2> {
        let mut x = self.inc.forward(Tensor::from_data(x, device));
        let mut skips = Vec::new();
        for down in &self.down {
            skips.push(x.clone());
            x = down.forward(self.pool.forward(x));
        }
        for ((up, conv), skip) in self.up.iter().zip(&self.convs).zip(skips.into_iter().rev()) {
            x = conv.forward(Tensor::cat(vec![skip, up.forward(x)], 1));
        }
        self.head.forward(x).permute([0, 2, 3, 1]).flatten(0, 2)
    }
}

#[derive(Module, Debug)]
pub struct MobileNet {
    stem: ConvNorm,
    blocks: Vec<InvertedResidual>,
    last: ConvNorm,
    average: AdaptiveAvgPool2d,
    dropout: Dropout,
    head: Linear,
}

#[derive(Module, Debug)]
struct InvertedResidual {
    expand: Option<ConvNorm>,
    depthwise: ConvNorm,
    project: ConvNorm,
    skip: bool,
}

fn relu6(x: Tensor<4>) -> Tensor<4> {
    x.clamp(0.0, 6.0)
}

impl MobileNet {
    pub fn new(device: &Device) -> Self {
        let rows = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)];
        let (mut blocks, mut inputs) = (Vec::new(), 32);
        for (expand, outputs, count, stride) in rows {
            for i in 0..count {
                let (hidden, stride) = (inputs * expand, if i == 0 { stride } else { 1 });
                blocks.push(InvertedResidual {
                    expand: (expand > 1).then(|| ConvNorm::new([inputs, hidden], 1, 1, 1, device)),
                    depthwise: ConvNorm::new([hidden, hidden], 3, stride, hidden, device),
                    project: ConvNorm::new([hidden, outputs], 1, 1, 1, device),
                    skip: stride == 1 && inputs == outputs,
                });
                inputs = outputs;
            }
        }
        Self {
            stem: ConvNorm::new([3, 32], 3, 2, 1, device),
            blocks,
            last: ConvNorm::new([inputs, 1280], 1, 1, 1, device),
            average: AdaptiveAvgPool2dConfig::new([1, 1]).init(),
            dropout: DropoutConfig::new(0.2).init(),
            head: LinearConfig::new(1280, MANY_CLASSES).init(device),
        }
    }
}

impl InvertedResidual {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let expanded = match &self.expand {
            Some(expand) => relu6(expand.forward(x.clone())),
            None => x.clone(),
        };
        let y = self.project.forward(relu6(self.depthwise.forward(expanded)));
        if self.skip { x + y } else { y }
    }
}

impl Network for MobileNet {
    fn forward(&self, x: TensorData, device: &Device) -> Tensor<2> {
        let x = relu6(self.stem.forward(Tensor::from_data(x, device)));
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        let x = self.average.forward(relu6(self.last.forward(x))).flatten::<2>(1, 3);
        self.head.forward(self.dropout.forward(x))
    }
}

#[derive(Module, Debug)]
pub struct SentenceEncoder {
    words: Embedding,
    places: Embedding,
    norm: LayerNorm,
    encoder: TransformerEncoder,
}

impl SentenceEncoder {
    const WIDTH: usize = 384;

    pub fn new(device: &Device) -> Self {
        Self {
            words: EmbeddingConfig::new(WORDS, Self::WIDTH).init(device),
            places: EmbeddingConfig::new(512, Self::WIDTH).init(device),
            norm: LayerNormConfig::new(Self::WIDTH).init(device),
            encoder: TransformerEncoderConfig::new(Self::WIDTH, 1536, 12, 6).init(device),
        }
    }
}

impl Network for SentenceEncoder {
    fn forward(&self, x: TensorData, device: &Device) -> Tensor<2> {
        let words = Tensor::<2, Int>::from_data(x, device);
        let [_, length] = words.dims();
        let x = self.words.forward(words) + places(&self.places, length);
        self.encoder.forward(TransformerEncoderInput::new(self.norm.forward(x))).mean_dim(1).squeeze_dim(1)
    }
}
