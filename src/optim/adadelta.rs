//! AdaDelta.

use super::config::config;
use super::fused::{Formula, Fused, decay, f32_of, plain};
use crate::graph::optim::{Coefficients, DecayMode, OptimRule};

/// Steps scaled by the ratio of two running root mean squares, of past steps and of gradients:
/// ```text
/// g = ∇w + decay · w
/// s = rho · s + (1 - rho) · g²
/// d = √(u + eps) / √(s + eps) · g
/// u = rho · u + (1 - rho) · d²
/// w = w - lr · d
/// ```
/// Source: M. Zeiler, "ADADELTA: an adaptive learning rate method", 2012;
/// [PyTorch](https://pytorch.org/docs/stable/generated/torch.optim.Adadelta.html).
pub type AdaDelta = Fused<AdaDeltaConfig>;

config! {
    /// Settings of [`AdaDelta`].
    AdaDeltaConfig {
        /// Learning rate.
        lr: f64 = 1.0, AtLeastZero;
        /// How much of each running mean is kept.
        rho: f64 = 0.9, Factor;
        /// Added under the roots.
        eps: f64 = 1e-6, AtLeastZero;
        /// Weight decay.
        weight_decay: f64 = 0.0, AtLeastZero;
        /// How the decay is applied.
        decay_mode: DecayMode = DecayMode::L2;
        /// Whether to go up the gradient instead of down.
        maximize: bool = false;
    }
}

impl Formula for AdaDeltaConfig {
    const NAME: &'static str = "adadelta";

    fn rule(&self) -> OptimRule {
        OptimRule::AdaDelta
    }

    fn decay_mode(&self) -> DecayMode {
        self.decay_mode
    }

    fn coefficients(&self, _: u64) -> Coefficients {
        Coefficients {
            beta2: f32_of(self.rho),
            one_minus_beta2: f32_of(1.0 - self.rho),
            eps: f32_of(self.eps),
            ..plain(self.lr, decay(self.decay_mode, self.lr, self.weight_decay))
        }
    }
}
