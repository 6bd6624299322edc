//! Lion.

use super::fused::{Formula, Fused, Settings, decay, f32_of, moments};
use crate::graph::optim::Coefficients;
use crate::graph::optim::{DecayMode, OptimRule};
use crate::io::number::Range;

/// Steps of one size, by the sign of a mean of momentum and gradient; the weights decay by themselves:
/// ```text
/// w = w - lr · decay · w
/// w = w - lr · sign(β₁ · m + (1 - β₁) · ∇w)
/// m = β₂ · m + (1 - β₂) · ∇w
/// ```
/// Good learning rates are 3 to 10 times smaller than Adam's, and decays as much larger. PyTorch has no such optimizer.
///
/// Source: X. Chen et al., "Symbolic discovery of optimization algorithms", 2023, algorithm 2.
pub type Lion = Fused<LionConfig>;

/// Settings of [`Lion`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LionConfig {
    /// Learning rate. Defaults to 1e-4.
    pub lr: f64,
    /// How much of each running mean stays: (β₁, β₂). Defaults to (0.9, 0.99).
    pub betas: (f64, f64),
    /// Weight decay, decoupled. Defaults to 0.
    pub weight_decay: f64,
    /// Whether to go up the gradient instead of down. Defaults to false.
    pub maximize: bool,
}

impl Default for LionConfig {
    fn default() -> Self {
        Self { lr: 1e-4, betas: (0.9, 0.99), weight_decay: 0.0, maximize: false }
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
        Coefficients { lr: f32_of(self.lr), ..moments(self.betas, 0.0, decay(DecayMode::Decoupled, self.lr, self.weight_decay)) }
    }

    fn maximize(&self) -> bool {
        self.maximize
    }

    fn lr(&mut self) -> &mut f64 {
        &mut self.lr
    }

    fn settings(&mut self) -> Settings<'_> {
        vec![
            ("lr", Range::AtLeastZero, &mut self.lr),
            ("beta1", Range::Factor, &mut self.betas.0),
            ("beta2", Range::Factor, &mut self.betas.1),
            ("weight_decay", Range::AtLeastZero, &mut self.weight_decay),
        ]
    }
}
