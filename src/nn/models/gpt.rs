//! A GPT-style decoder.

use crate::error::{Error, Result};
use crate::nn::init::need_few;
use crate::nn::{
    Dropout, Embedding, EmbeddingConfig, FeedForward, Init, LayerNorm, LayerNormConfig, Linear, LinearConfig, Module, fields,
};
use crate::param::Param;
use crate::shape::product;
use crate::site::Caller;
use crate::tensor::{AttentionOptions, Tensor};
use std::panic::Location;

/// Settings of a [`Gpt`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GptConfig {
    /// The number of tokens. Defaults to 50257.
    pub vocab_size: usize,
    /// The longest sequence. Defaults to 1024.
    pub block_size: usize,
    /// Defaults to 12.
    pub n_layer: usize,
    /// Defaults to 12.
    pub n_head: usize,
    /// Defaults to 768.
    pub n_embd: usize,
    /// Probability of all dropouts. Defaults to 0.
    pub dropout: f64,
    /// Whether linear layers and normalisations have biases. Defaults to true.
    pub bias: bool,
    /// Defaults to exact GELU, as in nanoGPT; GPT-2's own weights want [`FeedForward::GeluTanh`].
    pub activation: FeedForward,
}

impl Default for GptConfig {
    fn default() -> Self {
        Self {
            vocab_size: 50_257,
            block_size: 1024,
            n_layer: 12,
            n_head: 12,
            n_embd: 768,
            dropout: 0.0,
            bias: true,
            activation: FeedForward::Gelu,
        }
    }
}

impl GptConfig {
    /// GPT-2's initial values: normal weights and no shift.
    fn linear(&self, inputs: usize, outputs: usize, std: f64, init: &Init) -> Result<Linear> {
        let layer = Linear::with(inputs, outputs, LinearConfig { bias: self.bias }, init)?;
        layer.weight.set(&init.normal([outputs, inputs], std)?)?;
        if let Some(bias) = &layer.bias {
            bias.set(&init.constant(outputs, 0.0)?)?;
        }
        Ok(layer)
    }

    /// The standard deviation of weights whose outputs are added to the residual stream.
    fn residual_std(&self) -> f64 {
        0.02 / (2.0 * self.n_layer.max(1) as f64).sqrt()
    }

    fn norm(&self, init: &Init) -> Result<LayerNorm> {
        LayerNorm::with([self.n_embd], LayerNormConfig { bias: self.bias, ..LayerNormConfig::default() }, init)
    }
}

/// Causal attention of several heads.
#[derive(Debug)]
#[must_use = "a layer computes nothing until its forward is called"]
pub struct CausalSelfAttention {
    /// Queries, keys and values, `[3·e, e]`.
    pub c_attn: Linear,
    /// `[e, e]`.
    pub c_proj: Linear,
    attn_dropout: Dropout,
    resid_dropout: Dropout,
    heads: usize,
    dropout: f64,
}

impl Module for CausalSelfAttention {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let [n, l, e] = x.dims::<3>()?;
        let joined = self.c_attn.forward(x)?.reshape([n, l, 3, self.heads, e / self.heads]).permute(&[2, 0, 3, 1, 4]);
        let part = |i: isize| joined.slice(0, i, i + 1).squeeze(0);
        let options =
            AttentionOptions { causal: true, dropout: self.attn_dropout.active(self.dropout), ..AttentionOptions::default() };
        let y = part(0).scaled_dot_product_attention(&part(1), &part(2), &options);
        self.resid_dropout.forward(&self.c_proj.forward(&y.transpose(1, 2).reshape([n, l, e]))?)
    }
    fields!(c_attn, c_proj, attn_dropout, resid_dropout; skip heads, dropout);
}

/// Two linear layers.
#[derive(Debug)]
#[must_use = "a layer computes nothing until its forward is called"]
pub struct GptMlp {
    /// `[4·e, e]`.
    pub c_fc: Linear,
    /// `[e, 4·e]`.
    pub c_proj: Linear,
    dropout: Dropout,
    activation: FeedForward,
}

impl Module for GptMlp {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.dropout.forward(&self.c_proj.forward(&self.activation.apply(&self.c_fc.forward(x)?))?)
    }
    fields!(c_fc, c_proj, dropout; skip activation);
}

/// Attention and perceptron, each normalised first and with a skip connection.
#[derive(Debug)]
#[must_use = "a layer computes nothing until its forward is called"]
pub struct Block {
    /// The attention's normalisation.
    pub ln_1: LayerNorm,
    /// Attention to earlier tokens.
    pub attn: CausalSelfAttention,
    /// The perceptron's normalisation.
    pub ln_2: LayerNorm,
    /// The perceptron.
    pub mlp: GptMlp,
}

impl Block {
    fn new(c: &GptConfig, init: &Init) -> Result<Self> {
        let dropout = || Dropout::new(c.dropout, init);
        Ok(Self {
            ln_1: c.norm(init)?,
            attn: CausalSelfAttention {
                c_attn: c.linear(c.n_embd, product(&[3, c.n_embd]), 0.02, init)?,
                c_proj: c.linear(c.n_embd, c.n_embd, c.residual_std(), init)?,
                attn_dropout: dropout()?,
                resid_dropout: dropout()?,
                heads: c.n_head,
                dropout: c.dropout,
            },
            ln_2: c.norm(init)?,
            mlp: GptMlp {
                c_fc: c.linear(c.n_embd, product(&[4, c.n_embd]), 0.02, init)?,
                c_proj: c.linear(product(&[4, c.n_embd]), c.n_embd, c.residual_std(), init)?,
                dropout: dropout()?,
                activation: c.activation,
            },
        })
    }
}

impl Module for Block {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = x + self.attn.forward(&self.ln_1.forward(x)?)?;
        Ok(&x + self.mlp.forward(&self.ln_2.forward(&x)?)?)
    }
    fields!(ln_1, attn, ln_2, mlp);
}

/// The decoder without its head.
#[derive(Debug)]
#[must_use = "a layer computes nothing until its forward is called"]
pub struct Transformer {
    /// Embedding of tokens, `[vocab_size, e]`.
    pub wte: Embedding,
    /// Embedding of positions, `[block_size, e]`.
    pub wpe: Embedding,
    drop: Dropout,
    /// The blocks.
    pub h: Vec<Block>,
    /// The last normalisation.
    pub ln_f: LayerNorm,
}

impl Module for Transformer {
    #[track_caller]
    fn forward(&self, tokens: &Tensor) -> Result<Tensor> {
        let _caller = Caller::of(Location::caller());
        let [_, l] = tokens.dims::<2>()?;
        let longest = self.wpe.weight.shape()[0];
        if l > longest {
            let reason = format!("a sequence of {l} tokens exceeds the block size of {longest}");
            return Err(Error::argument("Gpt", reason, "give shorter sequences, or make the model with a larger block_size"));
        }
        let x = self.wte.forward(tokens)? + self.wpe.weight.tensor().slice(0, 0, l as isize);
        let x = self.h.iter().try_fold(self.drop.forward(&x)?, |x, block| block.forward(&x))?;
        self.ln_f.forward(&x)
    }
    fields!(wte, wpe, drop, h, ln_f);
}

/// A decoder in the style of GPT-2, under nanoGPT's names: tokens `[n, l]` to logits `[n, l, vocab_size]`. The head's weight
/// is the token embedding's.
///
/// Source: A. Radford et al., "Language models are unsupervised multitask learners", 2019.
#[derive(Debug)]
#[must_use = "a layer computes nothing until its forward is called"]
pub struct Gpt {
    /// All but the head.
    pub transformer: Transformer,
    /// Shares its weight with `transformer.wte`.
    pub lm_head: Linear,
}

/// The weights of a table of embeddings.
#[track_caller]
fn table(rows: usize, d: usize, init: &Init) -> Result<Param> {
    let weight = Param::new(&init.normal([rows, d], 0.02)?)?;
    weight.set_name("weight");
    Ok(weight)
}

impl Gpt {
    /// A model of the given settings, with GPT-2's initial values.
    ///
    /// # Errors
    /// The heads do not divide the elements; a dropout outside `0..=1`; the device is out of memory.
    #[track_caller]
    pub fn new(config: GptConfig, init: &Init) -> Result<Self> {
        let c = &config;
        if c.n_head == 0 || !c.n_embd.is_multiple_of(c.n_head) {
            let reason = format!("{} heads do not divide {} elements", c.n_head, c.n_embd);
            return Err(Error::argument("Gpt", reason, "use a number of heads that divides the elements"));
        }
        need_few("Gpt", "layers", c.n_layer)?;
        let tokens = table(c.vocab_size, c.n_embd, init)?;
        let positions = table(c.block_size, c.n_embd, init)?;
        let transformer = Transformer {
            wte: Embedding::tied(&tokens, EmbeddingConfig::default())?,
            wpe: Embedding::tied(&positions, EmbeddingConfig::default())?,
            drop: Dropout::new(c.dropout, init)?,
            h: (0..c.n_layer).map(|_| Block::new(c, init)).collect::<Result<_>>()?,
            ln_f: c.norm(init)?,
        };
        Ok(Self { transformer, lm_head: Linear { weight: tokens, bias: None } })
    }
}

impl Module for Gpt {
    #[track_caller]
    fn forward(&self, tokens: &Tensor) -> Result<Tensor> {
        self.lm_head.forward(&self.transformer.forward(tokens)?)
    }
    fields!(transformer, lm_head);
}
