//! RAdam.

use super::config::config;
use super::fused::{Formula, Fused, decay, moments};
use crate::graph::optim::{Coefficients, DecayMode, OptimRule};
use crate::math::portable::pow;

/// [`Adam`](super::Adam) without the division while the variance of v is unknown, and with a rectified step afterwards:
/// ```text
/// g  = ∇w + decay · w
/// m  = β₁ · m + (1 - β₁) · g
/// v  = β₂ · v + (1 - β₂) · g²
/// ρ∞ = 2 / (1 - β₂) - 1        ρ = ρ∞ - 2 · t · β₂ᵗ / (1 - β₂ᵗ)
/// w  = w - lr / (1 - β₁ᵗ) · m                                                   if ρ ≤ 5, else
/// w  = w - lr / (1 - β₁ᵗ) · m · r · √(1 - β₂ᵗ) / (√v + eps),   r² = (ρ - 4)(ρ - 2)ρ∞ / ((ρ∞ - 4)(ρ∞ - 2)ρ)
/// ```
/// Source: L. Liu et al., "On the variance of the adaptive learning rate and beyond", 2020;
/// [PyTorch](https://pytorch.org/docs/stable/generated/torch.optim.RAdam.html).
pub type RAdam = Fused<RAdamConfig>;

config! {
    /// Settings of [`RAdam`].
    RAdamConfig {
        /// Learning rate.
        lr: f64 = 1e-3, AtLeastZero;
        /// How much of each running mean is kept: (β₁, β₂).
        betas: (f64, f64) = (0.9, 0.999), Factor;
        /// Added to the root.
        eps: f64 = 1e-8, AtLeastZero;
        /// Weight decay.
        weight_decay: f64 = 0.0, AtLeastZero;
        /// How the decay is applied.
        decay_mode: DecayMode = DecayMode::L2;
        /// Whether to go up the gradient instead of down.
        maximize: bool = false;
    }
}

impl Formula for RAdamConfig {
    const NAME: &'static str = "radam";

    fn rule(&self) -> OptimRule {
        OptimRule::RAdam
    }

    fn decay_mode(&self) -> DecayMode {
        self.decay_mode
    }

    fn coefficients(&self, t: u64) -> Coefficients {
        let (beta1, beta2) = self.betas;
        let t = t.max(1) as f64;
        let (bias1, bias2) = (1.0 - pow(beta1, t), 1.0 - pow(beta2, t));
        let most = 2.0 / (1.0 - beta2) - 1.0;
        let rho = most - 2.0 * t * pow(beta2, t) / bias2;
        let adaptive = rho > 5.0;
        let rectified = || ((rho - 4.0) * (rho - 2.0) * most / ((most - 4.0) * (most - 2.0) * rho)).sqrt() * bias2.sqrt();
        let lr = self.lr / bias1 * if adaptive { rectified() } else { 1.0 };
        Coefficients {
            extra: if adaptive { 1.0 } else { 0.0 },
            ..moments(lr, self.betas, self.eps, decay(self.decay_mode, self.lr, self.weight_decay))
        }
    }
}
