//! The numbers of an optimizer's step, and the gate that skips it.

use super::float::Float;

/// Elements in a block of the GPU's block table; entries are padded to whole blocks.
pub(crate) const BLOCK: usize = 1024;

/// Declares the coefficients twice: as kernels read them, and in whatever type the host computes in.
macro_rules! coefficients {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// One entry's numbers for one step, worked out on the host in f64. All kernels share the layout, which
        /// `shaders/common/coefficients.wgsl` declares with the same names.
        #[derive(Debug, Clone, Copy, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
        #[repr(C)]
        pub struct Coefficients {
            $($(#[$doc])+ pub $name: f32,)+
            /// Unused; keeps the record at 64 bytes.
            pub reserved: [f32; 3],
        }

        /// [`Coefficients`] in the type that a formula computes in.
        #[allow(dead_code, reason = "only kernels read some of them")]
        #[derive(Debug, Clone, Copy)]
        pub(crate) struct Numbers<F> {
            $(pub $name: F,)+
        }

        impl Coefficients {
            /// The same numbers in another type.
            #[inline(always)]
            pub(crate) fn widen<F: Float>(&self) -> Numbers<F> {
                Numbers { $($name: F::of(self.$name),)+ }
            }
        }
    };
}

coefficients! {
    /// Learning rate; for Adam divided by the first bias correction `1 - β₁ᵗ`; for AdaGrad decayed.
    lr,
    /// Decay that is added to the gradient (L2); 0 if decoupled.
    l2,
    /// What the weight is multiplied by first: `1 - lr·decay` if decoupled, else 1.
    shrink,
    /// SGD and RMSprop: momentum; Adam: β₁.
    beta1,
    /// RMSprop: α; Adam: β₂.
    beta2,
    /// `1 - β₁` for Adam; `1 - dampening` for SGD (1 in the first step, when the velocity is set to the gradient).
    one_minus_beta1,
    /// `1 - β₂` for Adam, `1 - α` for RMSprop.
    one_minus_beta2,
    /// Added to the denominator, outside the root.
    eps,
    /// Adam: `1 / √(1 - β₂ᵗ)`.
    inv_sqrt_bias2,
    /// What the gradient is multiplied by first (gradient clipping, loss scaling); 1 otherwise.
    grad_scale,
    /// NAdam: what m is multiplied by; RAdam: 1 if the step is divided by √v, else 0; LAMB: `1 / (1 - β₁ᵗ)`.
    extra,
    /// LAMB: the weight decay.
    decay,
    /// The limit of the norm that the gradients are clipped by, if the step clips them.
    limit,
}

impl<F: Float> Numbers<F> {
    /// The gradient g of a parameter element p after scaling and L2 decay.
    #[inline(always)]
    pub fn gradient(&self, p: F, g: F) -> F {
        g * self.grad_scale + self.l2 * p
    }
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
    /// Which of an entry's coefficients apply.
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

/// How weight decay is applied in an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DecayMode {
    /// Added to the gradient: `g += decay * w` (classic L2; Adam, SGD ...).
    #[default]
    L2,
    /// Shrinks the weight directly: `w -= lr * decay * w` (AdamW).
    Decoupled,
}
