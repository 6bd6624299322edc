//! RAdam.

use super::fused::{Formula, Fused, Settings, decay, f32_of, moments, of_adam};
use crate::graph::optim::Coefficients;
use crate::graph::optim::{DecayMode, OptimRule};

/// [`Adam`](super::Adam) that does without the division while the variance of v is unknown, and is rectified afterwards:
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

/// Settings of [`RAdam`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RAdamConfig {
    /// Learning rate. Defaults to 1e-3.
    pub lr: f64,
    /// How much of each running mean stays: (β₁, β₂). Defaults to (0.9, 0.999).
    pub betas: (f64, f64),
    /// Added to the root. Defaults to 1e-8.
    pub eps: f64,
    /// Weight decay. Defaults to 0.
    pub weight_decay: f64,
    /// How the decay enters. Defaults to `L2`.
    pub decay_mode: DecayMode,
    /// Whether to go up the gradient instead of down. Defaults to false.
    pub maximize: bool,
}

impl Default for RAdamConfig {
    fn default() -> Self {
        Self { lr: 1e-3, betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.0, decay_mode: DecayMode::L2, maximize: false }
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
        let (bias1, bias2) = (1.0 - beta1.powf(t), 1.0 - beta2.powf(t));
        let most = 2.0 / (1.0 - beta2) - 1.0;
        let rho = most - 2.0 * t * beta2.powf(t) / bias2;
        let adaptive = rho > 5.0;
        let rectified = || ((rho - 4.0) * (rho - 2.0) * most / ((most - 4.0) * (most - 2.0) * rho)).sqrt() * bias2.sqrt();
        Coefficients {
            lr: f32_of(self.lr / bias1 * if adaptive { rectified() } else { 1.0 }),
            extra: if adaptive { 1.0 } else { 0.0 },
            ..moments(self.betas, self.eps, decay(self.decay_mode, self.lr, self.weight_decay))
        }
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
