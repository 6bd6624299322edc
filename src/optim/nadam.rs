//! NAdam.

use super::fused::{Formula, Fused, Settings, decay, f32_of, moments, of_adam};
use crate::graph::optim::Coefficients;
use crate::graph::optim::{DecayMode, OptimRule};
use crate::io::number::Range;

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

/// Settings of [`NAdam`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NAdamConfig {
    /// Learning rate. Defaults to 2e-3.
    pub lr: f64,
    /// How much of each running mean stays: (β₁, β₂). Defaults to (0.9, 0.999).
    pub betas: (f64, f64),
    /// Added to the root. Defaults to 1e-8.
    pub eps: f64,
    /// Weight decay. Defaults to 0.
    pub weight_decay: f64,
    /// How the decay enters. Defaults to `L2`.
    pub decay_mode: DecayMode,
    /// How fast the momentum reaches β₁. Defaults to 4e-3.
    pub momentum_decay: f64,
    /// Whether to go up the gradient instead of down. Defaults to false.
    pub maximize: bool,
}

impl Default for NAdamConfig {
    fn default() -> Self {
        Self {
            lr: 2e-3,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.0,
            decay_mode: DecayMode::L2,
            momentum_decay: 4e-3,
            maximize: false,
        }
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
        let momentum = |t: u64| beta1 * (1.0 - 0.5 * 0.96f64.powf(t as f64 * self.momentum_decay));
        // Below 2⁻⁶⁰, 1 minus the product is 1.
        let mut product = 1.0;
        for step in 1..=t {
            product *= momentum(step);
            if product < f64::EPSILON / 256.0 {
                break;
            }
        }
        let (now, next) = (momentum(t), momentum(t + 1));
        Coefficients {
            lr: f32_of(self.lr * (1.0 - now) / (1.0 - product)),
            extra: f32_of(self.lr * next / (1.0 - product * next)),
            inv_sqrt_bias2: f32_of(1.0 / (1.0 - beta2.powf(t as f64)).sqrt()),
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
        let mut settings = of_adam(&mut self.lr, &mut self.betas, &mut self.eps, &mut self.weight_decay);
        settings.push(("momentum_decay", Range::AtLeastZero, &mut self.momentum_decay));
        settings
    }
}
