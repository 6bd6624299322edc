//! LAMB.

use super::fused::{Formula, Fused, Settings, decay, f32_of, moments, of_adam};
use crate::graph::optim::Coefficients;
use crate::graph::optim::{DecayMode, OptimRule};

/// [`AdamW`](super::AdamW) for large batches: each parameter's step is scaled to the parameter's own size:
/// ```text
/// m = β₁ · m + (1 - β₁) · ∇w
/// v = β₂ · v + (1 - β₂) · ∇w²
/// d = m / (1 - β₁ᵗ) / (√(v / (1 - β₂ᵗ)) + eps) + decay · w
/// w = w - lr · ‖w‖ / ‖d‖ · d                  (the ratio is 1 if either norm is 0)
/// ```
/// The norms are of whole parameters, and summed in a fixed order. PyTorch has no such optimizer.
///
/// Source: Y. You et al., "Large batch optimization for deep learning: training BERT in 76 minutes", 2020, algorithm 2.
pub type Lamb = Fused<LambConfig>;

/// Settings of [`Lamb`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LambConfig {
    /// Learning rate. Defaults to 1e-3.
    pub lr: f64,
    /// How much of each running mean stays: (β₁, β₂). Defaults to (0.9, 0.999).
    pub betas: (f64, f64),
    /// Added to the root. Defaults to 1e-6.
    pub eps: f64,
    /// Weight decay, decoupled; part of the direction, so of its norm too. Defaults to 1e-2.
    pub weight_decay: f64,
    /// Whether to go up the gradient instead of down. Defaults to false.
    pub maximize: bool,
}

impl Default for LambConfig {
    fn default() -> Self {
        Self { lr: 1e-3, betas: (0.9, 0.999), eps: 1e-6, weight_decay: 1e-2, maximize: false }
    }
}

impl Formula for LambConfig {
    const NAME: &'static str = "lamb";

    fn rule(&self) -> OptimRule {
        OptimRule::Lamb
    }

    fn decay_mode(&self) -> DecayMode {
        DecayMode::Decoupled
    }

    fn coefficients(&self, t: u64) -> Coefficients {
        let (beta1, beta2) = self.betas;
        // The decay is part of the direction: nothing shrinks beforehand.
        let t = t.max(1) as f64;
        Coefficients {
            lr: f32_of(self.lr),
            inv_sqrt_bias2: f32_of(1.0 / (1.0 - beta2.powf(t)).sqrt()),
            extra: f32_of(1.0 / (1.0 - beta1.powf(t))),
            decay: f32_of(self.weight_decay),
            ..moments(self.betas, self.eps, decay(DecayMode::Decoupled, self.lr, 0.0))
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
