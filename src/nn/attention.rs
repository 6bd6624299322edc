//! Multi-head attention.

use super::dropout::probability;
use super::init::{Init, filled, xavier_uniform};
use super::linear::{Linear, LinearConfig};
use super::mode::Mode;
use super::module::Module;
use super::summary::observe;
use crate::error::{Error, Result, counted};
use crate::fields;
use crate::param::Param;
use crate::rng::Generator;
use crate::shape::{Shape, product};
use crate::site::Caller;
use crate::tensor::{AttentionOptions, Tensor, mask_help, reaching, zeroed};
use std::panic::Location;

/// Settings of a [`MultiheadAttention`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MultiheadAttentionConfig {
    /// In training, drops attention weights with this probability. Defaults to 0.
    pub dropout: f64,
    /// Whether the projections have biases. Defaults to true.
    pub bias: bool,
}

impl Default for MultiheadAttentionConfig {
    fn default() -> Self {
        Self { dropout: 0.0, bias: true }
    }
}

/// Attention of several heads, with learned projections of queries, keys, values and the result:
/// `out_proj(concat over heads of softmax(q·kᵀ/√d)·v)`.
///
/// Inputs are batch-first, `[n, l, e]` (PyTorch's `batch_first=True`), or a single example `[l, e]`; state names are
/// PyTorch's. [`Module::forward`] attends from x to x. Attention weights are not returned.
///
/// Source: A. Vaswani et al., "Attention is all you need", 2017.
///
/// ```
/// # use wgrad::nn::{Init, Module, MultiheadAttention};
/// # use wgrad::{Device, Tensor};
/// # fn main() -> wgrad::Result<()> {
/// let device = Device::cpu()?;
/// let attention = MultiheadAttention::new(8, 2, &Init::new(&device, 0))?;
/// let y = attention.forward(&Tensor::ones([3, 5, 8], &device)?)?;
/// assert_eq!(y.shape()?, [3, 5, 8]);
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "a layer computes nothing until its forward is called"]
pub struct MultiheadAttention {
    /// Projections of queries, keys and values, stacked: `[3·e, e]`. Xavier-uniform.
    pub in_proj_weight: Param,
    /// `[3·e]`; starts at 0.
    pub in_proj_bias: Option<Param>,
    /// `[e, e]`, and a bias that starts at 0.
    pub out_proj: Linear,
    heads: usize,
    dropout: f64,
    mode: Mode,
    generator: Generator,
}

impl MultiheadAttention {
    /// A layer for vectors of `embed` elements in `heads` heads with PyTorch's settings.
    ///
    /// # Errors
    /// The heads do not divide the elements; the device is out of memory.
    #[track_caller]
    pub fn new(embed: usize, heads: usize, init: &Init) -> Result<Self> {
        Self::with(embed, heads, MultiheadAttentionConfig::default(), init)
    }

    /// A layer with its own settings.
    ///
    /// # Errors
    /// As [`MultiheadAttention::new`]; a dropout outside `0..=1`.
    #[track_caller]
    pub fn with(embed: usize, heads: usize, config: MultiheadAttentionConfig, init: &Init) -> Result<Self> {
        let MultiheadAttentionConfig { dropout, bias } = config;
        if heads == 0 || embed == 0 || !embed.is_multiple_of(heads) {
            let reason = format!("{heads} heads do not divide {embed} elements");
            return Err(Error::argument("MultiheadAttention::new", reason, "use a number of heads that divides the elements"));
        }
        probability("MultiheadAttention::with", dropout)?;
        let in_proj_weight = Param::new(&xavier_uniform([product(&[3, embed]), embed], 1.0, init)?)?;
        in_proj_weight.set_name("in_proj_weight");
        let mut out_proj = Linear::with(embed, embed, LinearConfig { bias: false }, init)?;
        let mut in_proj_bias = None;
        if bias {
            in_proj_bias = Some(filled("in_proj_bias", product(&[3, embed]), 0.0, init)?);
            out_proj.bias = Some(filled("bias", embed, 0.0, init)?);
        }
        let generator = init.generator.clone();
        Ok(Self { in_proj_weight, in_proj_bias, out_proj, heads, dropout, mode: Mode::default(), generator })
    }

    /// Attends from `query` `[n, l, e]` to `key` and `value` `[n, s, e]`: `[n, l, e]`. Of `options`, `causal`, `mask`
    /// (broadcast to `[n, heads, l, s]`), `scale` and `block` are used; dropout is the layer's own.
    ///
    /// The contents of keys and values that no query sees, and of queries that see nothing, do not affect results or gradients. A
    /// Bool mask is true where a query may see a key: the opposite of `attn_mask` and `key_padding_mask` of PyTorch's layer.
    ///
    /// # Errors
    /// Tensors that do not fit the layer or each other.
    #[track_caller]
    pub fn attend(&self, query: &Tensor, key: &Tensor, value: &Tensor, options: &AttentionOptions) -> Result<Tensor> {
        let _caller = Caller::of(Location::caller());
        let (weight, bias) = (self.in_proj_weight.tensor(), self.in_proj_bias.as_ref().map(Param::tensor));
        let embed = self.in_proj_weight.shape()[1];
        let shape = query.shape()?;
        for x in [query, key, value] {
            let given = x.shape()?;
            let reason = match given.last() {
                _ if !(2..=3).contains(&given.rank()) => {
                    format!("the input {given} has {}, not 2 or 3", counted(given.rank(), "axis"))
                }
                _ if given.rank() != shape.rank() => format!("the query {shape} and the input {given} differ in their axes"),
                Some(&width) if width != embed => {
                    format!("the input {given} has {width} in its last axis, and the layer takes {embed}")
                }
                _ => continue,
            };
            return Err(Error::argument("MultiheadAttention", reason, "give [n, l, e], or [l, e], for each"));
        }
        if let Some(mask) = &options.mask {
            self.check_mask(&mask.shape()?, &shape, &key.shape()?)?;
        }
        // Before the projections, whose weights' gradients multiply what is hidden by 0.
        let [query, key, value] = &match &options.mask {
            Some(mask) => {
                [(query, -1), (key, -2), (value, -2)].map(|(x, axis)| zeroed(x, &without_heads(&reaching(mask, axis)), axis))
            }
            None => [query, key, value].map(Tensor::clone),
        };
        let caller = Location::caller();
        // [n, l, e] to [n, heads, l, e/heads].
        let project = |x: &Tensor, part: usize| {
            let (from, to) = ((part * embed) as isize, ((part + 1) * embed) as isize);
            let y = x.matmul(&weight.slice(0, from, to).t());
            let y = bias.as_ref().map_or(y.clone(), |b| y + b.slice(0, from, to));
            y.check().map_err(|error| error.seen_from(caller))?;
            let mut dims = x.shape()?.to_vec();
            dims.pop();
            dims.extend([self.heads, embed / self.heads]);
            Ok::<_, Error>(y.reshape(dims).transpose(-3, -2))
        };
        let dropout = (self.mode.is_training() && self.dropout > 0.0).then(|| (self.dropout, self.generator.clone()));
        let options = AttentionOptions { dropout, ..options.clone() };
        let heads = project(query, 0)?.scaled_dot_product_attention(&project(key, 1)?, &project(value, 2)?, &options);
        let joined = heads.transpose(-3, -2).reshape(shape);
        self.out_proj.forward(&joined)
    }
}

impl MultiheadAttention {
    /// Refuses a mask that does not stretch to the scores.
    #[track_caller]
    fn check_mask(&self, mask: &Shape, query: &Shape, key: &Shape) -> Result<()> {
        let (l, s) = (query[query.rank() - 2], key[key.rank() - 2]);
        let scores = match query.rank() {
            3 => Shape::of(&[query[0], self.heads, l, s]),
            _ => Shape::of(&[self.heads, l, s]),
        };
        if mask.broadcast(&scores) == Some(scores) {
            return Ok(());
        }
        let reason = format!("the mask {mask} does not stretch to the scores [n, heads, l, s], {scores}");
        Err(Error::argument("MultiheadAttention", reason, mask_help(mask, &scores)))
    }
}

/// Tokens `[n, l, e]` that attend to one another, with 0 in those that see nothing and that nobody sees: padding.
pub(super) fn without_padding(x: &Tensor, options: &AttentionOptions) -> Tensor {
    let Some(mask) = &options.mask else { return x.clone() };
    let seeing = without_heads(&reaching(mask, -1));
    let seen = without_heads(&reaching(mask, -2)).transpose(-2, -1);
    let part = if seeing.shape().is_ok_and(|s| s.rank() < 2) { seen } else { seeing.logical_or(&seen) };
    zeroed(x, &part, -1)
}

/// Of a mask for `[n, heads, l, s]`, what any head lets through.
fn without_heads(open: &Tensor) -> Tensor {
    if open.shape().is_ok_and(|s| s.rank() >= 3) { open.any_dim(-3) } else { open.clone() }
}

impl Module for MultiheadAttention {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        observe(self, "MultiheadAttention", self.attend(x, x, x, &AttentionOptions::default())?)
    }
    fields!(in_proj_weight, in_proj_bias, out_proj, mode; skip heads, dropout, generator);
}
