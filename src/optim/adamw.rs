//! AdamW.

use super::adam::AdamConfig;
use super::config::config;
use super::fused::{Formula, Fused};
use crate::graph::optim::{Coefficients, DecayMode, OptimRule};

/// [`Adam`](super::Adam) whose weight decay shrinks the weights directly, `w = w - lr · decay · w` before the step, instead of
/// passing through the running means.
///
/// Source: I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", 2019;
/// [PyTorch](https://pytorch.org/docs/stable/generated/torch.optim.AdamW.html).
pub type AdamW = Fused<AdamWConfig>;

config! {
    /// Settings of [`AdamW`].
    AdamWConfig {
        /// Learning rate.
        lr: f64 = 1e-3, AtLeastZero;
        /// How much of each running mean is kept: (β₁, β₂).
        betas: (f64, f64) = (0.9, 0.999), Factor;
        /// Added to the root.
        eps: f64 = 1e-8, AtLeastZero;
        /// Weight decay, decoupled.
        weight_decay: f64 = 1e-2, AtLeastZero;
        /// Whether to divide by the largest second moment seen.
        amsgrad: bool = false;
        /// Whether to go up the gradient instead of down.
        maximize: bool = false;
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
}
