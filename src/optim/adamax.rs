//! Adamax.

use super::config::config;
use super::fused::{Formula, Fused, decay, moments};
use crate::graph::optim::{Coefficients, DecayMode, OptimRule};
use crate::math::portable::pow;

/// [`Adam`](super::Adam) that divides by a decayed maximum instead of a root mean square:
/// ```text
/// g = ∇w + decay · w
/// m = β₁ · m + (1 - β₁) · g
/// u = max(β₂ · u, |g| + eps)
/// w = w - lr / (1 - β₁ᵗ) · m / u
/// ```
/// Source: D. Kingma, J. Ba, "Adam: a method for stochastic optimization", 2015, section 7;
/// [PyTorch](https://pytorch.org/docs/stable/generated/torch.optim.Adamax.html).
pub type Adamax = Fused<AdamaxConfig>;

config! {
    /// Settings of [`Adamax`].
    AdamaxConfig {
        /// Learning rate.
        lr: f64 = 2e-3, AtLeastZero;
        /// How much of each running mean is kept: (β₁, β₂).
        betas: (f64, f64) = (0.9, 0.999), Factor;
        /// Added to the gradient's size.
        eps: f64 = 1e-8, AtLeastZero;
        /// Weight decay.
        weight_decay: f64 = 0.0, AtLeastZero;
        /// How the decay is applied.
        decay_mode: DecayMode = DecayMode::L2;
        /// Whether to go up the gradient instead of down.
        maximize: bool = false;
    }
}

impl Formula for AdamaxConfig {
    const NAME: &'static str = "adamax";

    fn rule(&self) -> OptimRule {
        OptimRule::Adamax
    }

    fn decay_mode(&self) -> DecayMode {
        self.decay_mode
    }

    fn coefficients(&self, t: u64) -> Coefficients {
        let (beta1, _) = self.betas;
        let lr = self.lr / (1.0 - pow(beta1, t.max(1) as f64));
        moments(lr, self.betas, self.eps, decay(self.decay_mode, self.lr, self.weight_decay))
    }
}
