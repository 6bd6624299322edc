//! Lion.

use super::config::config;
use super::fused::{Formula, Fused, decay, moments};
use crate::graph::optim::{Coefficients, DecayMode, OptimRule};

/// Steps of one size, by the sign of a mean of momentum and gradient; weight decay is decoupled:
/// ```text
/// w = w - lr · decay · w
/// w = w - lr · sign(β₁ · m + (1 - β₁) · ∇w)
/// m = β₂ · m + (1 - β₂) · ∇w
/// ```
/// Good learning rates are 3 to 10 times smaller than Adam's, and decays as much larger. PyTorch has no such optimizer.
///
/// Source: X. Chen et al., "Symbolic discovery of optimization algorithms", 2023, algorithm 2.
pub type Lion = Fused<LionConfig>;

config! {
    /// Settings of [`Lion`].
    LionConfig {
        /// Learning rate.
        lr: f64 = 1e-4, AtLeastZero;
        /// How much of each running mean is kept: (β₁, β₂).
        betas: (f64, f64) = (0.9, 0.99), Factor;
        /// Weight decay, decoupled.
        weight_decay: f64 = 0.0, AtLeastZero;
        /// Whether to go up the gradient instead of down.
        maximize: bool = false;
    }
}

impl Formula for LionConfig {
    const NAME: &'static str = "lion";

    fn rule(&self) -> OptimRule {
        OptimRule::Lion
    }

    fn decay_mode(&self) -> DecayMode {
        DecayMode::Decoupled
    }

    fn coefficients(&self, _: u64) -> Coefficients {
        moments(self.lr, self.betas, 0.0, decay(DecayMode::Decoupled, self.lr, self.weight_decay))
    }
}
