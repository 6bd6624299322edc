//! Stochastic gradient descent.

use super::fused::{Formula, Fused, Settings, decay, f32_of};
use crate::error::{Error, Result};
use crate::graph::optim::Coefficients;
use crate::graph::optim::{DecayMode, OptimRule};
use crate::io::number::Range;

/// Stochastic gradient descent, with momentum and Nesterov's look-ahead if asked for:
/// ```text
/// g = ∇w + decay · w
/// v = momentum · v + (1 - dampening) · g      (first step: v = g)
/// w = w - lr · v        Nesterov: w - lr · (g + momentum · v)        no momentum: w - lr · g
/// ```
/// Source: I. Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013;
/// [PyTorch](https://pytorch.org/docs/stable/generated/torch.optim.SGD.html).
pub type Sgd = Fused<SgdConfig>;

/// Settings of [`Sgd`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SgdConfig {
    /// Learning rate. Defaults to 1e-3.
    pub lr: f64,
    /// How much of the velocity stays. Defaults to 0.
    pub momentum: f64,
    /// How much of the gradient is kept out of the velocity. Defaults to 0.
    pub dampening: f64,
    /// Weight decay. Defaults to 0.
    pub weight_decay: f64,
    /// How the decay enters. Defaults to `L2`.
    pub decay_mode: DecayMode,
    /// Whether to look ahead; needs momentum and no dampening. Defaults to false.
    pub nesterov: bool,
    /// Whether to go up the gradient instead of down. Defaults to false.
    pub maximize: bool,
}

impl Default for SgdConfig {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            momentum: 0.0,
            dampening: 0.0,
            weight_decay: 0.0,
            decay_mode: DecayMode::L2,
            nesterov: false,
            maximize: false,
        }
    }
}

impl Formula for SgdConfig {
    const NAME: &'static str = "sgd";

    fn rule(&self) -> OptimRule {
        OptimRule::Sgd { momentum: self.momentum != 0.0, nesterov: self.nesterov }
    }

    fn decay_mode(&self) -> DecayMode {
        self.decay_mode
    }

    fn coefficients(&self, t: u64) -> Coefficients {
        let (l2, shrink) = decay(self.decay_mode, self.lr, self.weight_decay);
        Coefficients {
            lr: f32_of(self.lr),
            l2: f32_of(l2),
            shrink: f32_of(shrink),
            beta1: f32_of(self.momentum),
            one_minus_beta1: if t == 1 { 1.0 } else { f32_of(1.0 - self.dampening) },
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
            ("momentum", Range::AtLeastZero, &mut self.momentum),
            ("dampening", Range::Finite, &mut self.dampening),
            ("weight_decay", Range::AtLeastZero, &mut self.weight_decay),
        ]
    }

    fn validate(&self) -> Result<()> {
        if self.nesterov && (self.momentum == 0.0 || self.dampening != 0.0) {
            return Err(Error::argument("sgd", "nesterov needs momentum and no dampening", "set momentum to 0.9, say"));
        }
        Ok(())
    }
}
