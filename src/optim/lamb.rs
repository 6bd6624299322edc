//! LAMB.

use super::config::config;
use super::fused::{Formula, Fused, decay, f32_of, moments};
use crate::graph::optim::{Coefficients, DecayMode, OptimRule};
use crate::math::portable::pow;

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

config! {
    /// Settings of [`Lamb`].
    LambConfig {
        /// Learning rate.
        lr: f64 = 1e-3, AtLeastZero;
        /// How much of each running mean is kept: (β₁, β₂).
        betas: (f64, f64) = (0.9, 0.999), Factor;
        /// Added to the root.
        eps: f64 = 1e-6, AtLeastZero;
        /// Weight decay, decoupled; part of the direction, so of its norm too.
        weight_decay: f64 = 1e-2, AtLeastZero;
        /// Whether to go up the gradient instead of down.
        maximize: bool = false;
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
            inv_sqrt_bias2: f32_of(1.0 / (1.0 - pow(beta2, t)).sqrt()),
            extra: f32_of(1.0 / (1.0 - pow(beta1, t))),
            decay: f32_of(self.weight_decay),
            ..moments(self.lr, self.betas, self.eps, decay(DecayMode::Decoupled, self.lr, 0.0))
        }
    }
}
