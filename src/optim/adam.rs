//! Adam.

use super::fused::{Formula, Fused, Settings, decay, f32_of, moments, of_adam};
use crate::graph::optim::Coefficients;
use crate::graph::optim::{DecayMode, OptimRule};

/// Running means of the gradient and of its square, corrected for their start at zero:
/// ```text
/// g = ∇w + decay · w
/// m = β₁ · m + (1 - β₁) · g
/// v = β₂ · v + (1 - β₂) · g²                  (AMSGrad divides by the largest v so far)
/// w = w - lr / (1 - β₁ᵗ) · m / (√(v / (1 - β₂ᵗ)) + eps)
/// ```
/// Source: D. Kingma, J. Ba, "Adam: a method for stochastic optimization", 2015; S. Reddi, S. Kale, S. Kumar, "On the
/// convergence of Adam and beyond", 2018 (AMSGrad);
/// [PyTorch](https://pytorch.org/docs/stable/generated/torch.optim.Adam.html).
pub type Adam = Fused<AdamConfig>;

/// Settings of [`Adam`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamConfig {
    /// Learning rate. Defaults to 1e-3.
    pub lr: f64,
    /// How much of each running mean stays: (β₁, β₂). Defaults to (0.9, 0.999).
    pub betas: (f64, f64),
    /// Added to the root. Defaults to 1e-8.
    pub eps: f64,
    /// Weight decay, added to the gradient; [`AdamW`](super::AdamW) decouples it. Defaults to 0.
    pub weight_decay: f64,
    /// Whether to divide by the largest second moment seen. Defaults to false.
    pub amsgrad: bool,
    /// Whether to go up the gradient instead of down. Defaults to false.
    pub maximize: bool,
}

impl Default for AdamConfig {
    fn default() -> Self {
        Self { lr: 1e-3, betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.0, amsgrad: false, maximize: false }
    }
}

impl AdamConfig {
    /// The numbers of step `t`, for either kind of weight decay.
    pub(super) fn at(&self, t: u64, mode: DecayMode) -> Coefficients {
        let (beta1, beta2) = self.betas;
        // Powers in f64: 1 - β₂ᵗ loses its digits in f32 for small t.
        let steps = t.max(1) as f64;
        let correction1 = 1.0 - beta1.powf(steps);
        let correction2 = 1.0 - beta2.powf(steps);
        Coefficients {
            lr: f32_of(self.lr / correction1),
            inv_sqrt_bias2: f32_of(1.0 / correction2.sqrt()),
            ..moments(self.betas, self.eps, decay(mode, self.lr, self.weight_decay))
        }
    }
}

impl Formula for AdamConfig {
    const NAME: &'static str = "adam";

    fn rule(&self) -> OptimRule {
        OptimRule::Adam { amsgrad: self.amsgrad }
    }

    fn decay_mode(&self) -> DecayMode {
        DecayMode::L2
    }

    fn coefficients(&self, t: u64) -> Coefficients {
        self.at(t, DecayMode::L2)
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
