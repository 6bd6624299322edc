//! A bilinear form of two inputs.

use super::init::Init;
use super::module::Module;
use super::summary::observe;
use crate::error::{Error, Result};
use crate::fields;
use crate::param::Param;
use crate::tensor::Tensor;

/// Settings of a [`Bilinear`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BilinearConfig {
    /// Whether a bias is added. Defaults to true.
    pub bias: bool,
}

impl Default for BilinearConfig {
    fn default() -> Self {
        Self { bias: true }
    }
}

/// `y_o = aᵀ · weight_o · b + bias_o`: `[.., i]` and `[.., j]` to `[.., o]`. [`Module::forward`] takes x for both.
#[derive(Debug)]
#[must_use = "a layer computes nothing until its forward is called"]
pub struct Bilinear {
    /// `[o, i, j]`; uniform in ±`1/√i`.
    pub weight: Param,
    /// `[o]`; uniform in ±`1/√i`.
    pub bias: Option<Param>,
}

impl Bilinear {
    /// A layer with bias, initialised as in PyTorch.
    ///
    /// # Errors
    /// An impossible shape; the device is out of memory.
    #[track_caller]
    pub fn new(first: usize, second: usize, outputs: usize, init: &Init) -> Result<Self> {
        Self::with(first, second, outputs, BilinearConfig::default(), init)
    }

    /// A layer with its own settings.
    ///
    /// # Errors
    /// As [`Bilinear::new`].
    #[track_caller]
    pub fn with(first: usize, second: usize, outputs: usize, config: BilinearConfig, init: &Init) -> Result<Self> {
        let bound = 1.0 / (first.max(1) as f64).sqrt();
        let weight = Param::new(&init.uniform([outputs, first, second], bound)?)?;
        weight.set_name("weight");
        let mut layer = Self { weight, bias: None };
        if config.bias {
            let bias = Param::new(&init.uniform(outputs, bound)?)?;
            bias.set_name("bias");
            layer.bias = Some(bias);
        }
        Ok(layer)
    }

    /// The form of two inputs with the same leading axes.
    ///
    /// # Errors
    /// Inputs that do not fit the layer or each other.
    #[track_caller]
    pub fn apply(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let (sa, sb, w) = (a.shape()?, b.shape()?, self.weight.shape());
        let split = |s: &[usize]| s.split_last().map(|(&last, lead)| (last, lead.to_vec()));
        let (Some((i, lead)), Some((j, other))) = (split(&sa), split(&sb)) else {
            return Err(Error::argument("Bilinear", "a scalar was given", "give [.., i] and [.., j]"));
        };
        if i != w[1] || j != w[2] || lead != other {
            let reason = format!("inputs {sa} and {sb} do not fit a layer of [.., {}] and [.., {}]", w[1], w[2]);
            return Err(Error::argument("Bilinear", reason, "give both the same leading axes"));
        }
        let n: usize = lead.iter().product();
        // [n, i] x [i, o·j], then weighted by b and summed over j.
        let table = self.weight.tensor().permute(&[1, 0, 2]).reshape([i, w[0] * j]);
        let left = a.reshape([n, i]).matmul(&table).reshape([n, w[0], j]);
        let mut dims = lead;
        dims.push(w[0]);
        let y = (left * b.reshape([n, 1, j])).sum_dim(2).reshape(dims);
        let y = self.bias.as_ref().map_or(y.clone(), |bias| y + bias.tensor());
        y.check()?;
        Ok(y)
    }
}

impl Module for Bilinear {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        observe(self, "Bilinear", self.apply(x, x)?)
    }
    fields!(weight, bias);
}
