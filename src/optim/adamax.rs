//! Adamax.

use super::fused::{Formula, Fused, Settings, decay, f32_of, moments, of_adam};
use crate::graph::optim::Coefficients;
use crate::graph::optim::{DecayMode, OptimRule};

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

/// Settings of [`Adamax`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamaxConfig {
    /// Learning rate. Defaults to 2e-3.
    pub lr: f64,
    /// How much of each running mean stays: (β₁, β₂). Defaults to (0.9, 0.999).
    pub betas: (f64, f64),
    /// Added to the gradient's size. Defaults to 1e-8.
    pub eps: f64,
    /// Weight decay. Defaults to 0.
    pub weight_decay: f64,
    /// How the decay enters. Defaults to `L2`.
    pub decay_mode: DecayMode,
    /// Whether to go up the gradient instead of down. Defaults to false.
    pub maximize: bool,
}

impl Default for AdamaxConfig {
    fn default() -> Self {
        Self { lr: 2e-3, betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.0, decay_mode: DecayMode::L2, maximize: false }
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
        Coefficients {
            lr: f32_of(self.lr / (1.0 - beta1.powf(t.max(1) as f64))),
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
