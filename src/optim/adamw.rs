//! AdamW.

use super::adam::AdamConfig;
use super::fused::{Formula, Fused, Settings, of_adam};
use crate::graph::optim::Coefficients;
use crate::graph::optim::{DecayMode, OptimRule};

/// [`Adam`](super::Adam) whose weight decay shrinks the weights directly, `w = w - lr · decay · w` before the step, instead of
/// passing through the running means.
///
/// Source: I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", 2019;
/// [PyTorch](https://pytorch.org/docs/stable/generated/torch.optim.AdamW.html).
pub type AdamW = Fused<AdamWConfig>;

/// Settings of [`AdamW`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWConfig {
    /// Learning rate. Defaults to 1e-3.
    pub lr: f64,
    /// How much of each running mean stays: (β₁, β₂). Defaults to (0.9, 0.999).
    pub betas: (f64, f64),
    /// Added to the root. Defaults to 1e-8.
    pub eps: f64,
    /// Weight decay, decoupled. Defaults to 1e-2.
    pub weight_decay: f64,
    /// Whether to divide by the largest second moment seen. Defaults to false.
    pub amsgrad: bool,
    /// Whether to go up the gradient instead of down. Defaults to false.
    pub maximize: bool,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { lr: 1e-3, betas: (0.9, 0.999), eps: 1e-8, weight_decay: 1e-2, amsgrad: false, maximize: false }
    }
}

impl AdamWConfig {
    /// The same settings as Adam's.
    fn adam(&self) -> AdamConfig {
        let Self { lr, betas, eps, weight_decay, amsgrad, maximize } = *self;
        AdamConfig { lr, betas, eps, weight_decay, amsgrad, maximize }
    }
}

impl Formula for AdamWConfig {
    const NAME: &'static str = "adamw";

    fn rule(&self) -> OptimRule {
        self.adam().rule()
    }

    fn decay_mode(&self) -> DecayMode {
        DecayMode::Decoupled
    }

    fn coefficients(&self, t: u64) -> Coefficients {
        self.adam().at(t, DecayMode::Decoupled)
    }

    fn maximize(&self) -> bool {
        self.maximize
    }

    fn lr(&mut self) -> &mut f64 {
        &mut self.lr
    }

    fn settings(&mut self) -> Settings<'_> {
        of_adam(&mut self.lr, &mut self.betas, &mut self.eps, &mut self.weight_decay)
    }
}
