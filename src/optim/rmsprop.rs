//! RMSprop.

use super::fused::{Formula, Fused, Settings, decay, f32_of};
use crate::graph::optim::Coefficients;
use crate::graph::optim::{DecayMode, OptimRule};
use crate::io::number::Range;

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

/// Settings of [`RmsProp`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RmsPropConfig {
    /// Learning rate. Defaults to 1e-2.
    pub lr: f64,
    /// How much of the mean square stays. Defaults to 0.99.
    pub alpha: f64,
    /// Added to the root. Defaults to 1e-8.
    pub eps: f64,
    /// Weight decay. Defaults to 0.
    pub weight_decay: f64,
    /// How the decay enters. Defaults to `L2`.
    pub decay_mode: DecayMode,
    /// How much of the velocity stays. Defaults to 0.
    pub momentum: f64,
    /// Whether the mean gradient's square is subtracted. Defaults to false.
    pub centered: bool,
    /// Whether to go up the gradient instead of down. Defaults to false.
    pub maximize: bool,
}

impl Default for RmsPropConfig {
    fn default() -> Self {
        Self {
            lr: 1e-2,
            alpha: 0.99,
            eps: 1e-8,
            weight_decay: 0.0,
            decay_mode: DecayMode::L2,
            momentum: 0.0,
            centered: false,
            maximize: false,
        }
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
        let (l2, shrink) = decay(self.decay_mode, self.lr, self.weight_decay);
        Coefficients {
            lr: f32_of(self.lr),
            l2: f32_of(l2),
            shrink: f32_of(shrink),
            beta1: f32_of(self.momentum),
            beta2: f32_of(self.alpha),
            one_minus_beta2: f32_of(1.0 - self.alpha),
            eps: f32_of(self.eps),
            ..Coefficients::default()
        }
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
            ("alpha", Range::Factor, &mut self.alpha),
            ("eps", Range::AtLeastZero, &mut self.eps),
            ("weight_decay", Range::AtLeastZero, &mut self.weight_decay),
            ("momentum", Range::AtLeastZero, &mut self.momentum),
        ]
    }
}
