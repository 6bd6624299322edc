//! What an optimizer remembers, on its device: one entry a parameter, state, and this step's coefficients.

use crate::plan::Storage;
use std::sync::Mutex;

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

/// One parameter of a store.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The parameter.
    pub cell: std::sync::Arc<crate::param::Cell>,
    /// The parameter's memory; on a GPU a range of the parameter arena.
    pub parameter: Storage,
    /// Its elements.
    pub len: usize,
    /// On a GPU: its first element in the gradient and state arenas, a multiple of [`BLOCK`].
    pub offset: usize,
}

/// An optimizer's memory on a device.
///
/// State is one array a state value ([`OptimRule::states`]); on the CPU a `Storage` an entry, on a GPU one arena for all.
#[derive(Debug)]
pub(crate) struct OptimStore {
    /// The parameters, in registration order.
    pub entries: Vec<Entry>,
    /// CPU: `state[s * entries.len() + e]`. GPU: `state[s]` is arena s.
    pub state: Vec<Storage>,
    /// GPU: the arena that parameters live in.
    pub parameters: Option<Storage>,
    /// GPU: the arena that gradients are written to.
    pub gradients: Option<Storage>,
    /// This step's numbers, one an entry; if the step is gated, [`VARIANTS`] an entry, side by side.
    pub coefficients: Mutex<Vec<Coefficients>>,
}
