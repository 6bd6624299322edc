//! Transformer layers and stacks of them, batch-first: `[n, l, e]`.

use super::attention::{MultiheadAttention, MultiheadAttentionConfig, without_padding};
use super::dropout::Dropout;
use super::init::Init;
use super::linear::{Linear, LinearConfig};
use super::module::Module;
use super::norm::{LayerNorm, LayerNormConfig};
use super::summary::observe;
use crate::error::{Error, Result};
use crate::fields;
use crate::site::Caller;
use crate::tensor::{AttentionOptions, Tensor};
use std::panic::Location;

/// The activation between a transformer layer's two linear layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FeedForward {
    /// `max(x, 0)`.
    #[default]
    Relu,
    /// Exact GELU.
    Gelu,
    /// GELU approximated by a hyperbolic tangent.
    GeluTanh,
    /// `x · sigmoid(x)`.
    Silu,
}

impl FeedForward {
    pub(super) fn apply(self, x: &Tensor) -> Tensor {
        match self {
            Self::Relu => x.relu(),
            Self::Gelu => x.gelu(),
            Self::GeluTanh => x.gelu_tanh(),
            Self::Silu => x.silu(),
        }
    }
}

/// Settings of a transformer layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TransformerConfig {
    /// Width between the two linear layers. Defaults to 2048.
    pub dim_feedforward: usize,
    /// Probability of all dropouts, including that of attention weights. Defaults to 0.1.
    pub dropout: f64,
    /// Defaults to ReLU.
    pub activation: FeedForward,
    /// Added to the variance in layer normalisation. Defaults to 1e-5.
    pub layer_norm_eps: f64,
    /// Normalises before attention and linear layers, not after the sums. Defaults to false.
    pub norm_first: bool,
    /// Whether all layers have biases. Defaults to true.
    pub bias: bool,
}

impl Default for TransformerConfig {
    fn default() -> Self {
        Self {
            dim_feedforward: 2048,
            dropout: 0.1,
            activation: FeedForward::Relu,
            layer_norm_eps: 1e-5,
            norm_first: false,
            bias: true,
        }
    }
}

impl TransformerConfig {
    fn norm(&self, d_model: usize, init: &Init) -> Result<LayerNorm> {
        LayerNorm::with(
            [d_model],
            LayerNormConfig { eps: self.layer_norm_eps, bias: self.bias, ..LayerNormConfig::default() },
            init,
        )
    }

    #[track_caller]
    fn attention(&self, d_model: usize, heads: usize, init: &Init) -> Result<MultiheadAttention> {
        MultiheadAttention::with(d_model, heads, MultiheadAttentionConfig { dropout: self.dropout, bias: self.bias }, init)
    }

    #[track_caller]
    fn linear(&self, inputs: usize, outputs: usize, init: &Init) -> Result<Linear> {
        Linear::with(inputs, outputs, LinearConfig { bias: self.bias }, init)
    }

    /// `x + branch(norm(x))`, or `norm(x + branch(x))`.
    fn join(&self, x: &Tensor, norm: &LayerNorm, branch: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        if self.norm_first { Ok(x + branch(&norm.forward(x)?)?) } else { norm.forward(&(x + branch(x)?)) }
    }
}

/// Self-attention and a two-layer perceptron, each with a skip connection: PyTorch's `TransformerEncoderLayer` under its
/// names, batch-first.
///
/// Source: A. Vaswani et al., "Attention is all you need", 2017.
///
/// ```
/// # use wgrad::nn::{Init, Module, TransformerConfig, TransformerEncoderLayer};
/// # use wgrad::{Device, Tensor};
/// # fn main() -> wgrad::Result<()> {
/// let device = Device::cpu()?;
/// let config = TransformerConfig { dim_feedforward: 16, ..TransformerConfig::default() };
/// let layer = TransformerEncoderLayer::with(8, 2, config, &Init::new(&device, 0))?;
/// assert_eq!(layer.forward(&Tensor::ones([3, 5, 8], &device)?)?.shape()?, [3, 5, 8]);
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "a layer computes nothing until its forward is called"]
pub struct TransformerEncoderLayer {
    /// Attention from the input to itself.
    pub self_attn: MultiheadAttention,
    /// `[dim_feedforward, e]`.
    pub linear1: Linear,
    /// `[e, dim_feedforward]`.
    pub linear2: Linear,
    /// The attention's normalisation.
    pub norm1: LayerNorm,
    /// The perceptron's normalisation.
    pub norm2: LayerNorm,
    dropout: Dropout,
    dropout1: Dropout,
    dropout2: Dropout,
    config: TransformerConfig,
}

impl TransformerEncoderLayer {
    /// A layer for vectors of `d_model` elements in `heads` heads with PyTorch's settings.
    ///
    /// # Errors
    /// The heads do not divide the elements; the device is out of memory.
    #[track_caller]
    pub fn new(d_model: usize, heads: usize, init: &Init) -> Result<Self> {
        Self::with(d_model, heads, TransformerConfig::default(), init)
    }

    /// A layer with its own settings.
    ///
    /// # Errors
    /// The heads do not divide the elements; a dropout outside `0..=1`; the device is out of memory.
    #[track_caller]
    pub fn with(d_model: usize, heads: usize, config: TransformerConfig, init: &Init) -> Result<Self> {
        Ok(Self {
            self_attn: config.attention(d_model, heads, init)?,
            linear1: config.linear(d_model, config.dim_feedforward, init)?,
            linear2: config.linear(config.dim_feedforward, d_model, init)?,
            norm1: config.norm(d_model, init)?,
            norm2: config.norm(d_model, init)?,
            dropout: Dropout::new(config.dropout, init)?,
            dropout1: Dropout::new(config.dropout, init)?,
            dropout2: Dropout::new(config.dropout, init)?,
            config,
        })
    }

    /// Encodes `[n, l, e]`; `options` are those of [`MultiheadAttention::attend`].
    ///
    /// # Errors
    /// An input or a mask that does not fit.
    #[track_caller]
    pub fn encode(&self, x: &Tensor, options: &AttentionOptions) -> Result<Tensor> {
        let caller = Location::caller();
        let _caller = Caller::of(caller);
        let x = &without_padding(x, options);
        let attend = |x: &Tensor| self.self_attn.attend(x, x, x, options).map_err(|error| error.seen_from(caller));
        let x = self.config.join(x, &self.norm1, |x| self.dropout1.forward(&attend(x)?))?;
        self.config.join(&x, &self.norm2, |x| {
            let inner = self.config.activation.apply(&self.linear1.forward(x)?);
            self.dropout2.forward(&self.linear2.forward(&self.dropout.forward(&inner)?)?)
        })
    }
}

impl Module for TransformerEncoderLayer {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        observe(self, "TransformerEncoderLayer", self.encode(x, &AttentionOptions::default())?)
    }
    fields!(self_attn, linear1, linear2, norm1, norm2, dropout, dropout1, dropout2; skip config);
}

/// Self-attention, attention to an encoder's output, and a two-layer perceptron: PyTorch's `TransformerDecoderLayer` under its
/// names, batch-first.
///
/// Source: A. Vaswani et al., "Attention is all you need", 2017.
#[derive(Debug)]
#[must_use = "a layer computes nothing until its forward is called"]
pub struct TransformerDecoderLayer {
    /// Attention from the target to itself.
    pub self_attn: MultiheadAttention,
    /// Attention from the target to the memory.
    pub multihead_attn: MultiheadAttention,
    /// `[dim_feedforward, e]`.
    pub linear1: Linear,
    /// `[e, dim_feedforward]`.
    pub linear2: Linear,
    /// The self-attention's normalisation.
    pub norm1: LayerNorm,
    /// The normalisation of the attention to the memory.
    pub norm2: LayerNorm,
    /// The perceptron's normalisation.
    pub norm3: LayerNorm,
    dropout: Dropout,
    dropout1: Dropout,
    dropout2: Dropout,
    dropout3: Dropout,
    config: TransformerConfig,
}

impl TransformerDecoderLayer {
    /// A layer for vectors of `d_model` elements in `heads` heads with PyTorch's settings.
    ///
    /// # Errors
    /// The heads do not divide the elements; the device is out of memory.
    #[track_caller]
    pub fn new(d_model: usize, heads: usize, init: &Init) -> Result<Self> {
        Self::with(d_model, heads, TransformerConfig::default(), init)
    }

    /// A layer with its own settings.
    ///
    /// # Errors
    /// The heads do not divide the elements; a dropout outside `0..=1`; the device is out of memory.
    #[track_caller]
    pub fn with(d_model: usize, heads: usize, config: TransformerConfig, init: &Init) -> Result<Self> {
        Ok(Self {
            self_attn: config.attention(d_model, heads, init)?,
            multihead_attn: config.attention(d_model, heads, init)?,
            linear1: config.linear(d_model, config.dim_feedforward, init)?,
            linear2: config.linear(config.dim_feedforward, d_model, init)?,
            norm1: config.norm(d_model, init)?,
            norm2: config.norm(d_model, init)?,
            norm3: config.norm(d_model, init)?,
            dropout: Dropout::new(config.dropout, init)?,
            dropout1: Dropout::new(config.dropout, init)?,
            dropout2: Dropout::new(config.dropout, init)?,
            dropout3: Dropout::new(config.dropout, init)?,
            config,
        })
    }

    /// Decodes a target `[n, l, e]` with a memory `[n, s, e]`. PyTorch's default has no mask; a language model's target attention
    /// is causal.
    ///
    /// # Errors
    /// Inputs or masks that do not fit.
    #[track_caller]
    pub fn decode(&self, x: &Tensor, memory: &Tensor, target: &AttentionOptions, source: &AttentionOptions) -> Result<Tensor> {
        let caller = Location::caller();
        let _caller = Caller::of(caller);
        let x = &without_padding(x, target);
        let attend = |x: &Tensor| self.self_attn.attend(x, x, x, target).map_err(|error| error.seen_from(caller));
        let look_up = |x: &Tensor| self.multihead_attn.attend(x, memory, memory, source).map_err(|error| error.seen_from(caller));
        let x = self.config.join(x, &self.norm1, |x| self.dropout1.forward(&attend(x)?))?;
        let x = self.config.join(&x, &self.norm2, |x| self.dropout2.forward(&look_up(x)?))?;
        self.config.join(&x, &self.norm3, |x| {
            let inner = self.config.activation.apply(&self.linear1.forward(x)?);
            self.dropout3.forward(&self.linear2.forward(&self.dropout.forward(&inner)?)?)
        })
    }
}

/// A decoder has two inputs, and [`Module::forward`] one.
#[track_caller]
fn needs_memory(kind: &str) -> Error {
    Error::argument(kind, "a decoder attends to a memory as well", "call decode(target, memory, ..)")
}

impl Module for TransformerDecoderLayer {
    /// Refuses: call [`TransformerDecoderLayer::decode`].
    #[track_caller]
    fn forward(&self, _: &Tensor) -> Result<Tensor> {
        Err(needs_memory("TransformerDecoderLayer"))
    }
    fields!(self_attn, multihead_attn, linear1, linear2, norm1, norm2, norm3, dropout, dropout1, dropout2, dropout3; skip config);
}

/// Encoder layers one after another, and a last normalisation if wanted: names `layers.0`, `layers.1` ..., `norm`.
#[derive(Debug)]
#[must_use = "a layer computes nothing until its forward is called"]
pub struct TransformerEncoder {
    /// The layers.
    pub layers: Vec<TransformerEncoderLayer>,
    /// The last normalisation. PyTorch's default is none.
    pub norm: Option<LayerNorm>,
}

impl TransformerEncoder {
    /// A stack of given layers.
    pub fn new(layers: Vec<TransformerEncoderLayer>, norm: Option<LayerNorm>) -> Self {
        Self { layers, norm }
    }

    /// Encodes `[n, l, e]`; all layers share the options.
    ///
    /// # Errors
    /// As [`TransformerEncoderLayer::encode`].
    #[track_caller]
    pub fn encode(&self, x: &Tensor, options: &AttentionOptions) -> Result<Tensor> {
        let _caller = Caller::of(Location::caller());
        let x = self.layers.iter().try_fold(x.clone(), |x, layer| layer.encode(&x, options))?;
        self.norm.as_ref().map_or(Ok(x.clone()), |norm| norm.forward(&x))
    }
}

impl Module for TransformerEncoder {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.encode(x, &AttentionOptions::default())
    }
    fields!(layers, norm);
}

/// Decoder layers one after another, and a last normalisation if wanted: names `layers.0`, `layers.1` ..., `norm`.
#[derive(Debug)]
#[must_use = "a layer computes nothing until its forward is called"]
pub struct TransformerDecoder {
    /// The layers.
    pub layers: Vec<TransformerDecoderLayer>,
    /// The last normalisation. PyTorch's default is none.
    pub norm: Option<LayerNorm>,
}

impl TransformerDecoder {
    /// A stack of given layers.
    pub fn new(layers: Vec<TransformerDecoderLayer>, norm: Option<LayerNorm>) -> Self {
        Self { layers, norm }
    }

    /// Decodes a target `[n, l, e]` with a memory `[n, s, e]`; all layers share the options.
    ///
    /// # Errors
    /// As [`TransformerDecoderLayer::decode`].
    #[track_caller]
    pub fn decode(&self, x: &Tensor, memory: &Tensor, target: &AttentionOptions, source: &AttentionOptions) -> Result<Tensor> {
        let _caller = Caller::of(Location::caller());
        let x = self.layers.iter().try_fold(x.clone(), |x, layer| layer.decode(&x, memory, target, source))?;
        self.norm.as_ref().map_or(Ok(x.clone()), |norm| norm.forward(&x))
    }
}

impl Module for TransformerDecoder {
    /// Refuses: call [`TransformerDecoder::decode`].
    #[track_caller]
    fn forward(&self, _: &Tensor) -> Result<Tensor> {
        Err(needs_memory("TransformerDecoder"))
    }
    fields!(layers, norm);
}
