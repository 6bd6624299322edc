//! What an optimizer's step means: rules, their numbers, and the gate that skips a step.

/// Elements in a block of the GPU's block table; entries are padded to whole blocks.
pub(crate) const BLOCK: usize = 1024;

/// One entry's numbers for one step, worked out on the host in f64. All kernels share the layout.
#[derive(Debug, Clone, Copy, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Coefficients {
    /// Learning rate; for Adam divided by the first bias correction `1 - β₁ᵗ`; for AdaGrad decayed.
    pub lr: f32,
    /// Decay that is added to the gradient (L2); 0 if decoupled.
    pub l2: f32,
    /// What the weight is multiplied with first: `1 - lr·decay` if decoupled, else 1.
    pub shrink: f32,
    /// SGD and RMSprop: momentum; Adam: β₁.
    pub beta1: f32,
    /// RMSprop: α; Adam: β₂.
    pub beta2: f32,
    /// `1 - β₁` for Adam; `1 - dampening` for SGD (1 in the first step, when the velocity is set to the gradient).
    pub one_minus_beta1: f32,
    /// `1 - β₂` for Adam, `1 - α` for RMSprop.
    pub one_minus_beta2: f32,
    /// Added to the denominator, outside the root.
    pub eps: f32,
    /// Adam: `1 / √(1 - β₂ᵗ)`.
    pub inv_sqrt_bias2: f32,
    /// What the gradient is multiplied with first (gradient clipping, loss scaling); 1 otherwise.
    pub grad_scale: f32,
    /// NAdam: what m is multiplied with; RAdam: 1 if the step is divided by √v, else 0; LAMB: `1 / (1 - β₁ᵗ)`.
    pub extra: f32,
    /// LAMB: the weight decay.
    pub decay: f32,
    /// The limit of the norm that the gradients are clipped by, if the step clips them.
    pub limit: f32,
    /// Unused; keeps the record at 64 bytes.
    pub reserved: [f32; 3],
}

/// How many steps may wait for the host to learn whether they were skipped.
pub(crate) const WINDOW: usize = 4;

/// How many coefficients an entry of a gated step has.
///
/// A step's number depends on how many steps before it were skipped, which the device knows at once and the host only
/// [`WINDOW`] steps later. So the host works out the coefficients for every possible count, 0 to `WINDOW` more than it knows,
/// and the kernel picks those of `skipped mod VARIANTS`.
pub(crate) const VARIANTS: usize = WINDOW + 1;

/// What a gated step reads: two f32, the first 0 if the step is to be skipped, the second how many have been so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gate {
    /// Whether the step is taken.
    pub open: bool,
    /// Which of an entry's coefficients hold.
    pub variant: usize,
}

impl Gate {
    /// How many coefficients an entry has.
    pub(crate) const fn variants(gated: bool) -> usize {
        if gated { VARIANTS } else { 1 }
    }

    /// From the two numbers; a step without a gate is taken.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number, 0 or more, in f32")]
    pub(crate) fn of(words: Option<&[f32]>) -> Self {
        match words {
            Some(&[apply, skipped, ..]) => Self { open: apply != 0.0, variant: skipped as usize % VARIANTS },
            _ => Self { open: true, variant: 0 },
        }
    }
}

/// The update rule of an optimizer, as far as it is structure. Hyper-parameters are data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OptimRule {
    /// Stochastic gradient descent.
    Sgd {
        /// Whether a velocity is kept (one state arena).
        momentum: bool,
        /// Look-ahead form of the velocity.
        nesterov: bool,
    },
    /// Adam and, with decoupled decay, AdamW. Two state arenas: m, v; a third, v's maximum, for AMSGrad.
    Adam {
        /// Divide by the largest second moment seen.
        amsgrad: bool,
    },
    /// RMSprop. State arenas: v, then the mean gradient if centred, then the velocity if there is momentum.
    RmsProp {
        /// Subtract the squared mean gradient from the second moment.
        centered: bool,
        /// Whether a velocity is kept.
        momentum: bool,
    },
    /// AdaGrad. One state arena: the sum of squares.
    AdaGrad,
    /// Lion. One state arena: the momentum.
    Lion,
    /// AdaDelta. Two state arenas: the mean square of gradients, and of steps.
    AdaDelta,
    /// Adamax. Two state arenas: m, and the decayed maximum.
    Adamax,
    /// NAdam. Two state arenas: m, v.
    NAdam,
    /// RAdam. Two state arenas: m, v.
    RAdam,
    /// LAMB. Two state arenas: m, v. The only rule that looks at a whole parameter: two norms come between two passes.
    Lamb,
}

impl OptimRule {
    /// How many state values each parameter element has.
    pub const fn states(self) -> usize {
        match self {
            Self::Sgd { momentum, .. } => momentum as usize,
            Self::Adam { amsgrad } => 2 + amsgrad as usize,
            Self::RmsProp { centered, momentum } => 1 + centered as usize + momentum as usize,
            Self::AdaGrad | Self::Lion => 1,
            Self::AdaDelta | Self::Adamax | Self::NAdam | Self::RAdam | Self::Lamb => 2,
        }
    }
}

/// How weight decay enters an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DecayMode {
    /// Added to the gradient: `g += decay * w` (classic L2; Adam, SGD ...).
    #[default]
    L2,
    /// Shrinks the weight directly: `w -= lr * decay * w` (AdamW).
    Decoupled,
}

/// LAMB's trust ratio from sums of squares of weights and steps: ‖w‖ / ‖d‖, 1 if either is 0.
pub(crate) fn trust(weight: f64, step: f64) -> f64 {
    if weight > 0.0 && step > 0.0 { weight.sqrt() / step.sqrt() } else { 1.0 }
}
