//! RMSprop.

use super::config::config;
use super::fused::{Formula, Fused, decay, f32_of, plain};
use crate::graph::optim::{Coefficients, DecayMode, OptimRule};

/// Steps divided by a running root mean square of the gradients, centred and with momentum if asked for:
/// ```text
/// g = ∇w + decay · w
/// s = alpha · s + (1 - alpha) · g²
/// m = alpha · m + (1 - alpha) · g             (centred; else m = 0)
/// d = g / (√(s - m²) + eps)
/// v = momentum · v + d                        (no momentum: v = d)
/// w = w - lr · v
/// ```
/// Source: T. Tieleman, G. Hinton, "Lecture 6.5: RMSprop", 2012; A. Graves, "Generating sequences with recurrent neural
/// networks", 2013 (centred); [PyTorch](https://pytorch.org/docs/stable/generated/torch.optim.RMSprop.html).
pub type RmsProp = Fused<RmsPropConfig>;

config! {
    /// Settings of [`RmsProp`].
    RmsPropConfig {
        /// Learning rate.
        lr: f64 = 1e-2, AtLeastZero;
        /// How much of the mean square is kept.
        alpha: f64 = 0.99, Factor;
        /// Added to the root.
        eps: f64 = 1e-8, AtLeastZero;
        /// Weight decay.
        weight_decay: f64 = 0.0, AtLeastZero;
        /// How the decay is applied.
        decay_mode: DecayMode = DecayMode::L2;
        /// How much of the velocity is kept.
        momentum: f64 = 0.0, AtLeastZero;
        /// Whether the mean gradient's square is subtracted.
        centered: bool = false;
        /// Whether to go up the gradient instead of down.
        maximize: bool = false;
    }
}

impl Formula for RmsPropConfig {
    const NAME: &'static str = "rmsprop";

    fn rule(&self) -> OptimRule {
        OptimRule::RmsProp { centered: self.centered, momentum: self.momentum != 0.0 }
    }

    fn decay_mode(&self) -> DecayMode {
        self.decay_mode
    }

    fn coefficients(&self, _: u64) -> Coefficients {
        Coefficients {
            beta1: f32_of(self.momentum),
            beta2: f32_of(self.alpha),
            one_minus_beta2: f32_of(1.0 - self.alpha),
            eps: f32_of(self.eps),
            ..plain(self.lr, decay(self.decay_mode, self.lr, self.weight_decay))
        }
    }
}
