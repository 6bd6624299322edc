//! AdaGrad.

use super::config::config;
use super::fused::{Formula, Fused, decay, f32_of, plain};
use crate::graph::optim::{Coefficients, DecayMode, OptimRule};

/// Steps divided by the root of all squared gradients so far:
/// ```text
/// g = ∇w + decay · w
/// s = s + g²
/// w = w - lr / (1 + (t - 1) · lr_decay) · g / (√s + eps)
/// ```
/// Source: J. Duchi, E. Hazan, Y. Singer, "Adaptive subgradient methods", 2011;
/// [PyTorch](https://pytorch.org/docs/stable/generated/torch.optim.Adagrad.html).
pub type AdaGrad = Fused<AdaGradConfig>;

config! {
    /// Settings of [`AdaGrad`].
    AdaGradConfig {
        /// Learning rate.
        lr: f64 = 1e-2, AtLeastZero;
        /// How fast the learning rate falls.
        lr_decay: f64 = 0.0, AtLeastZero;
        /// Weight decay.
        weight_decay: f64 = 0.0, AtLeastZero;
        /// How the decay is applied.
        decay_mode: DecayMode = DecayMode::L2;
        /// What the sum of squares starts as.
        initial_accumulator_value: f64 = 0.0, AtLeastZero;
        /// Added to the root.
        eps: f64 = 1e-10, AtLeastZero;
        /// Whether to go up the gradient instead of down.
        maximize: bool = false;
    }
}

impl Formula for AdaGradConfig {
    const NAME: &'static str = "adagrad";

    fn rule(&self) -> OptimRule {
        OptimRule::AdaGrad
    }

    fn decay_mode(&self) -> DecayMode {
        self.decay_mode
    }

    fn coefficients(&self, t: u64) -> Coefficients {
        let lr = self.lr / (1.0 + t.saturating_sub(1) as f64 * self.lr_decay);
        Coefficients { eps: f32_of(self.eps), ..plain(lr, decay(self.decay_mode, lr, self.weight_decay)) }
    }

    fn initial_state(&self) -> f64 {
        self.initial_accumulator_value
    }
}
