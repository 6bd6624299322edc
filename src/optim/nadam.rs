//! NAdam.

use super::config::config;
use super::fused::{Formula, Fused, decay, f32_of, moments};
use crate::graph::optim::{Coefficients, DecayMode, OptimRule};
use crate::math::portable::pow;

/// [`Adam`](super::Adam) with Nesterov's look-ahead, whose momentum warms up:
/// ```text
/// g  = ∇w + decay · w
/// m  = β₁ · m + (1 - β₁) · g
/// v  = β₂ · v + (1 - β₂) · g²
/// μₜ = β₁ · (1 - 0.96^(t · momentum_decay) / 2)                Πₜ = μ₁ · ... · μₜ
/// w  = w - lr · (μₜ₊₁ / (1 - Πₜ₊₁) · m + (1 - μₜ) / (1 - Πₜ) · g) / (√(v / (1 - β₂ᵗ)) + eps)
/// ```
/// Source: T. Dozat, "Incorporating Nesterov momentum into Adam", 2016;
/// [PyTorch](https://pytorch.org/docs/stable/generated/torch.optim.NAdam.html).
pub type NAdam = Fused<NAdamConfig>;

config! {
    /// Settings of [`NAdam`].
    NAdamConfig {
        /// Learning rate.
        lr: f64 = 2e-3, AtLeastZero;
        /// How much of each running mean is kept: (β₁, β₂).
        betas: (f64, f64) = (0.9, 0.999), Factor;
        /// Added to the root.
        eps: f64 = 1e-8, AtLeastZero;
        /// Weight decay.
        weight_decay: f64 = 0.0, AtLeastZero;
        /// How the decay is applied.
        decay_mode: DecayMode = DecayMode::L2;
        /// How fast the momentum reaches β₁.
        momentum_decay: f64 = 4e-3, AtLeastZero;
        /// Whether to go up the gradient instead of down.
        maximize: bool = false;
    }
}

impl Formula for NAdamConfig {
    const NAME: &'static str = "nadam";

    fn rule(&self) -> OptimRule {
        OptimRule::NAdam
    }

    fn decay_mode(&self) -> DecayMode {
        self.decay_mode
    }

    fn coefficients(&self, t: u64) -> Coefficients {
        let (beta1, beta2) = self.betas;
        let t = t.max(1);
        let momentum = |t: u64| beta1 * (1.0 - 0.5 * pow(0.96, t as f64 * self.momentum_decay));
        // Below 2⁻⁶⁰, 1 minus the product is 1.
        let mut product = 1.0;
        for step in 1..=t {
            product *= momentum(step);
            if product < f64::EPSILON / 256.0 {
                break;
            }
        }
        let (now, next) = (momentum(t), momentum(t + 1));
        let lr = self.lr * (1.0 - now) / (1.0 - product);
        Coefficients {
            extra: f32_of(self.lr * next / (1.0 - product * next)),
            inv_sqrt_bias2: f32_of(1.0 / (1.0 - pow(beta2, t as f64)).sqrt()),
            ..moments(lr, self.betas, self.eps, decay(self.decay_mode, self.lr, self.weight_decay))
        }
    }
}
