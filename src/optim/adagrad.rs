//! AdaGrad.

use super::fused::{Formula, Fused, Settings, decay, f32_of};
use crate::graph::optim::Coefficients;
use crate::graph::optim::{DecayMode, OptimRule};
use crate::io::number::Range;

/// Steps divided by the root of all squared gradients so far:
/// ```text
/// g = ∇w + decay · w
/// s = s + g²
/// w = w - lr / (1 + (t - 1) · lr_decay) · g / (√s + eps)
/// ```
/// Source: J. Duchi, E. Hazan, Y. Singer, "Adaptive subgradient methods", 2011;
/// [PyTorch](https://pytorch.org/docs/stable/generated/torch.optim.Adagrad.html).
pub type AdaGrad = Fused<AdaGradConfig>;

/// Settings of [`AdaGrad`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdaGradConfig {
    /// Learning rate. Defaults to 1e-2.
    pub lr: f64,
    /// How fast the learning rate falls. Defaults to 0.
    pub lr_decay: f64,
    /// Weight decay. Defaults to 0.
    pub weight_decay: f64,
    /// How the decay enters. Defaults to `L2`.
    pub decay_mode: DecayMode,
    /// What the sum of squares starts as. Defaults to 0.
    pub initial_accumulator_value: f64,
    /// Added to the root. Defaults to 1e-10.
    pub eps: f64,
    /// Whether to go up the gradient instead of down. Defaults to false.
    pub maximize: bool,
}

impl Default for AdaGradConfig {
    fn default() -> Self {
        Self {
            lr: 1e-2,
            lr_decay: 0.0,
            weight_decay: 0.0,
            decay_mode: DecayMode::L2,
            initial_accumulator_value: 0.0,
            eps: 1e-10,
            maximize: false,
        }
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
        let (l2, shrink) = decay(self.decay_mode, lr, self.weight_decay);
        Coefficients { lr: f32_of(lr), l2: f32_of(l2), shrink: f32_of(shrink), eps: f32_of(self.eps), ..Coefficients::default() }
    }

    fn maximize(&self) -> bool {
        self.maximize
    }

    fn lr(&mut self) -> &mut f64 {
        &mut self.lr
    }

    fn initial_state(&self) -> f64 {
        self.initial_accumulator_value
    }

    fn settings(&mut self) -> Settings<'_> {
        vec![
            ("lr", Range::AtLeastZero, &mut self.lr),
            ("lr_decay", Range::AtLeastZero, &mut self.lr_decay),
            ("weight_decay", Range::AtLeastZero, &mut self.weight_decay),
            ("initial_accumulator_value", Range::AtLeastZero, &mut self.initial_accumulator_value),
            ("eps", Range::AtLeastZero, &mut self.eps),
        ]
    }
}
