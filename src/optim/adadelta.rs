//! AdaDelta.

use super::fused::{Formula, Fused, Settings, decay, f32_of};
use crate::graph::optim::Coefficients;
use crate::graph::optim::{DecayMode, OptimRule};
use crate::io::number::Range;

/// Steps scaled by the ratio of two running root mean squares, of past steps and of gradients:
/// ```text
/// g = ∇w + decay · w
/// s = rho · s + (1 - rho) · g²
/// d = √(u + eps) / √(s + eps) · g
/// u = rho · u + (1 - rho) · d²
/// w = w - lr · d
/// ```
/// Source: M. Zeiler, "ADADELTA: an adaptive learning rate method", 2012;
/// [PyTorch](https://pytorch.org/docs/stable/generated/torch.optim.Adadelta.html).
pub type AdaDelta = Fused<AdaDeltaConfig>;

/// Settings of [`AdaDelta`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdaDeltaConfig {
    /// Learning rate. Defaults to 1.
    pub lr: f64,
    /// How much of each running mean stays. Defaults to 0.9.
    pub rho: f64,
    /// Added under the roots. Defaults to 1e-6.
    pub eps: f64,
    /// Weight decay. Defaults to 0.
    pub weight_decay: f64,
    /// How the decay enters. Defaults to `L2`.
    pub decay_mode: DecayMode,
    /// Whether to go up the gradient instead of down. Defaults to false.
    pub maximize: bool,
}

impl Default for AdaDeltaConfig {
    fn default() -> Self {
        Self { lr: 1.0, rho: 0.9, eps: 1e-6, weight_decay: 0.0, decay_mode: DecayMode::L2, maximize: false }
    }
}

impl Formula for AdaDeltaConfig {
    const NAME: &'static str = "adadelta";

    fn rule(&self) -> OptimRule {
        OptimRule::AdaDelta
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
            beta2: f32_of(self.rho),
            one_minus_beta2: f32_of(1.0 - self.rho),
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
            ("rho", Range::Factor, &mut self.rho),
            ("eps", Range::AtLeastZero, &mut self.eps),
            ("weight_decay", Range::AtLeastZero, &mut self.weight_decay),
        ]
    }
}
