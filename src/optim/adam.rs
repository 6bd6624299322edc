//! Adam.

use super::config::config;
use super::fused::{Formula, Fused, decay, f32_of, moments};
use crate::graph::optim::{Coefficients, DecayMode, OptimRule};
use crate::math::portable::pow;

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

config! {
    /// Settings of [`Adam`].
    AdamConfig {
        /// Learning rate.
        lr: f64 = 1e-3, AtLeastZero;
        /// How much of each running mean is kept: (β₁, β₂).
        betas: (f64, f64) = (0.9, 0.999), Factor;
        /// Added to the root.
        eps: f64 = 1e-8, AtLeastZero;
        /// Weight decay, added to the gradient; [`AdamW`](super::AdamW) decouples it.
        weight_decay: f64 = 0.0, AtLeastZero;
        /// Whether to divide by the largest second moment seen.
        amsgrad: bool = false;
        /// Whether to go up the gradient instead of down.
        maximize: bool = false;
    }
}

impl AdamConfig {
    /// The numbers of step `t`, for either kind of weight decay.
    pub(super) fn at(&self, t: u64, mode: DecayMode) -> Coefficients {
        let (beta1, beta2) = self.betas;
        // Powers in f64: 1 - β₂ᵗ loses its digits in f32 for small t.
        let steps = t.max(1) as f64;
        let correction1 = 1.0 - pow(beta1, steps);
        let correction2 = 1.0 - pow(beta2, steps);
        Coefficients {
            inv_sqrt_bias2: f32_of(1.0 / correction2.sqrt()),
            ..moments(self.lr / correction1, self.betas, self.eps, decay(mode, self.lr, self.weight_decay))
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
}
