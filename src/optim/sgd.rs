//! Stochastic gradient descent.

use super::config::config;
use super::fused::{Formula, Fused, decay, f32_of, plain};
use crate::error::{Error, Result};
use crate::graph::optim::{Coefficients, DecayMode, OptimRule};

/// Stochastic gradient descent, with momentum and Nesterov's look-ahead if asked for:
/// ```text
/// g = ∇w + decay · w
/// v = momentum · v + (1 - dampening) · g      (first step: v = g)
/// w = w - lr · v        Nesterov: w - lr · (g + momentum · v)        no momentum: w - lr · g
/// ```
/// Source: I. Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013;
/// [PyTorch](https://pytorch.org/docs/stable/generated/torch.optim.SGD.html).
pub type Sgd = Fused<SgdConfig>;

config! {
    /// Settings of [`Sgd`].
    SgdConfig {
        /// Learning rate.
        lr: f64 = 1e-3, AtLeastZero;
        /// How much of the velocity is kept.
        momentum: f64 = 0.0, AtLeastZero;
        /// How much of the gradient is kept out of the velocity.
        dampening: f64 = 0.0, Finite;
        /// Weight decay.
        weight_decay: f64 = 0.0, AtLeastZero;
        /// How the decay is applied.
        decay_mode: DecayMode = DecayMode::L2;
        /// Whether to look ahead; needs momentum and no dampening.
        nesterov: bool = false;
        /// Whether to go up the gradient instead of down.
        maximize: bool = false;
    }
}

impl Formula for SgdConfig {
    const NAME: &'static str = "sgd";

    fn rule(&self) -> OptimRule {
        OptimRule::Sgd { momentum: self.momentum != 0.0, nesterov: self.nesterov }
    }

    fn decay_mode(&self) -> DecayMode {
        self.decay_mode
    }

    fn coefficients(&self, t: u64) -> Coefficients {
        Coefficients {
            beta1: f32_of(self.momentum),
            one_minus_beta1: if t == 1 { 1.0 } else { f32_of(1.0 - self.dampening) },
            ..plain(self.lr, decay(self.decay_mode, self.lr, self.weight_decay))
        }
    }

    #[track_caller]
    fn validate(&self) -> Result<()> {
        if self.nesterov && (self.momentum == 0.0 || self.dampening != 0.0) {
            return Err(Error::argument("sgd", "nesterov needs momentum and no dampening", "set momentum to 0.9, say"));
        }
        Ok(())
    }
}
