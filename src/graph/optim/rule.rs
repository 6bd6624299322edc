//! The rules by which optimizers change their parameters: for each one its states, its flags and its formula.

use super::float::Float;
use super::numbers::{Coefficients, Numbers};

/// The update rule of an optimizer, as far as it is structure. Hyper-parameters are data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OptimRule {
    /// Stochastic gradient descent.
    Sgd {
        /// Whether a velocity is kept.
        momentum: bool,
        /// Look-ahead form of the velocity.
        nesterov: bool,
    },
    /// Adam and, with decoupled decay, AdamW.
    Adam {
        /// Divide by the largest second moment seen.
        amsgrad: bool,
    },
    /// RMSprop.
    RmsProp {
        /// Subtract the squared mean gradient from the second moment.
        centered: bool,
        /// Whether a velocity is kept.
        momentum: bool,
    },
    /// AdaGrad.
    AdaGrad,
    /// Lion.
    Lion,
    /// AdaDelta.
    AdaDelta,
    /// Adamax.
    Adamax,
    /// NAdam.
    NAdam,
    /// RAdam.
    RAdam,
    /// LAMB. The only rule that looks at a whole parameter: two norms come between two passes.
    Lamb,
}

/// A number that a rule keeps for each parameter element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    /// PyTorch's name: in checkpoints, and of the arena in the rule's shader.
    pub name: &'static str,
    /// Whether it may be negative.
    pub signed: bool,
}

const fn mean(name: &'static str) -> State {
    State { name, signed: true }
}

const fn square(name: &'static str) -> State {
    State { name, signed: false }
}

const M: State = mean("exp_avg");
const V: State = square("exp_avg_sq");
const VELOCITY: State = mean("momentum_buffer");
const SQUARES: State = square("square_avg");
const MEAN: State = mean("grad_avg");
const LARGEST: State = square("max_exp_avg_sq");
const SUM: State = square("sum");
const STEPS: State = square("acc_delta");
const NORM: State = square("exp_inf");

/// What the engine knows of a rule besides its formula.
#[derive(Debug)]
pub(crate) struct Facts {
    /// Name of the kernel and of its shader.
    pub name: &'static str,
    /// The shader: the formula again, as a function `update`.
    pub shader: &'static str,
    /// What the formula takes as its states.
    pub states: &'static [State],
    /// The choices that the rule is compiled for: upper-case names in the shader.
    pub flags: Vec<(&'static str, bool)>,
}

macro_rules! facts {
    ($name:literal, $states:expr, $flags:expr) => {
        Facts { name: $name, shader: include_str!(concat!("../../../shaders/", $name, ".wgsl")), states: $states, flags: $flags }
    };
}

impl OptimRule {
    /// Every rule with each choice that it has.
    pub(crate) fn all() -> Vec<Self> {
        vec![
            Self::Sgd { momentum: false, nesterov: false },
            Self::Sgd { momentum: true, nesterov: false },
            Self::Sgd { momentum: true, nesterov: true },
            Self::Adam { amsgrad: false },
            Self::Adam { amsgrad: true },
            Self::RmsProp { centered: false, momentum: false },
            Self::RmsProp { centered: true, momentum: false },
            Self::RmsProp { centered: false, momentum: true },
            Self::RmsProp { centered: true, momentum: true },
            Self::AdaGrad,
            Self::Lion,
            Self::AdaDelta,
            Self::Adamax,
            Self::NAdam,
            Self::RAdam,
            Self::Lamb,
        ]
    }

    /// Its row of facts.
    pub(crate) fn facts(self) -> Facts {
        match self {
            Self::Sgd { momentum, nesterov } => {
                facts!("sgd", if momentum { &[VELOCITY] } else { &[] }, vec![("momentum", momentum), ("nesterov", nesterov)])
            }
            Self::Adam { amsgrad } => {
                let states: &[State] = if amsgrad { &[M, V, LARGEST] } else { &[M, V] };
                facts!("adam", states, vec![("amsgrad", amsgrad)])
            }
            Self::RmsProp { centered, momentum } => {
                let states: &[State] = match (centered, momentum) {
                    (false, false) => &[SQUARES],
                    (true, false) => &[SQUARES, MEAN],
                    (false, true) => &[SQUARES, VELOCITY],
                    (true, true) => &[SQUARES, MEAN, VELOCITY],
                };
                facts!("rmsprop", states, vec![("centered", centered), ("momentum", momentum)])
            }
            Self::AdaGrad => facts!("adagrad", &[SUM], vec![]),
            Self::Lion => facts!("lion", &[M], vec![]),
            Self::AdaDelta => facts!("adadelta", &[SQUARES, STEPS], vec![]),
            Self::Adamax => facts!("adamax", &[M, NORM], vec![]),
            Self::NAdam => facts!("nadam", &[M, V], vec![]),
            Self::RAdam => facts!("radam", &[M, V], vec![]),
            Self::Lamb => facts!("lamb", &[M, V], vec![]),
        }
    }

    /// How many numbers are kept for each parameter element.
    pub fn states(self) -> usize {
        self.facts().states.len()
    }

    /// Runs the rule's formula over `elements`, which gives an element's new value (for LAMB its direction, see
    /// [`direction`]) from its old one after decoupled decay, its gradient after scaling and L2 decay, and its states.
    #[inline(always)]
    pub(crate) fn update<F: Float, E: Elements<F>>(self, c: &Coefficients, elements: E) -> E::Output {
        let c: Numbers<F> = c.widen();
        // The formula owns its coefficients and is inlined: else its loop is not vectorized.
        macro_rules! each {
            (|$p:ident, $g:ident, $states:pat_param| $formula:expr) => {
                each(
                    elements,
                    c,
                    #[inline(always)]
                    move |$p, $g, $states| $formula,
                )
            };
        }
        match self {
            Self::Sgd { momentum: false, .. } => each!(|p, g, []| p - c.lr * g),
            Self::Sgd { momentum: true, nesterov } => each!(|p, g, [v]| {
                *v = c.beta1 * *v + c.one_minus_beta1 * g;
                p - c.lr * if nesterov { g + c.beta1 * *v } else { *v }
            }),
            Self::Adam { amsgrad: false } => each!(|p, g, [m, v]| {
                moments(&c, g, m, v);
                p - c.lr * *m / (v.sqrt() * c.inv_sqrt_bias2 + c.eps)
            }),
            Self::Adam { amsgrad: true } => each!(|p, g, [m, v, max]| {
                moments(&c, g, m, v);
                *max = max.max(*v);
                p - c.lr * *m / (max.sqrt() * c.inv_sqrt_bias2 + c.eps)
            }),
            Self::RmsProp { centered: false, momentum: false } => each!(|p, g, [v]| {
                *v = c.beta2 * *v + c.one_minus_beta2 * g * g;
                p - c.lr * (g / (v.sqrt() + c.eps))
            }),
            Self::RmsProp { centered: false, momentum: true } => each!(|p, g, [v, b]| {
                *v = c.beta2 * *v + c.one_minus_beta2 * g * g;
                *b = c.beta1 * *b + g / (v.sqrt() + c.eps);
                p - c.lr * *b
            }),
            Self::RmsProp { centered: true, momentum: false } => {
                each!(|p, g, [v, a]| { p - c.lr * (g / (deviation(&c, g, v, a) + c.eps)) })
            }
            Self::RmsProp { centered: true, momentum: true } => each!(|p, g, [v, a, b]| {
                *b = c.beta1 * *b + g / (deviation(&c, g, v, a) + c.eps);
                p - c.lr * *b
            }),
            Self::AdaGrad => each!(|p, g, [sum]| {
                *sum = *sum + g * g;
                p - c.lr * g / (sum.sqrt() + c.eps)
            }),
            Self::Lion => each!(|p, g, [m]| {
                let d = c.beta1 * *m + c.one_minus_beta1 * g;
                *m = c.beta2 * *m + c.one_minus_beta2 * g;
                p - c.lr * d.sign()
            }),
            Self::AdaDelta => each!(|p, g, [v, u]| {
                *v = c.beta2 * *v + c.one_minus_beta2 * g * g;
                let d = (*u + c.eps).sqrt() / (*v + c.eps).sqrt() * g;
                *u = c.beta2 * *u + c.one_minus_beta2 * d * d;
                p - c.lr * d
            }),
            Self::Adamax => each!(|p, g, [m, u]| {
                *m = c.beta1 * *m + c.one_minus_beta1 * g;
                *u = (c.beta2 * *u).max(g.abs() + c.eps);
                p - c.lr * *m / *u
            }),
            Self::NAdam => each!(|p, g, [m, v]| {
                moments(&c, g, m, v);
                p - (c.lr * g + c.extra * *m) / (v.sqrt() * c.inv_sqrt_bias2 + c.eps)
            }),
            Self::RAdam => {
                let adaptive = c.extra != F::ZERO;
                each!(|p, g, [m, v]| {
                    moments(&c, g, m, v);
                    p - c.lr * if adaptive { *m / (v.sqrt() + c.eps) } else { *m }
                })
            }
            Self::Lamb => elements.each(
                #[inline(always)]
                move |p, g, [m, v]| {
                    moments(&c, c.gradient(p, g), m, v);
                    direction(&c, p, *m, *v)
                },
            ),
        }
    }
}

/// What a formula runs over: an array of a thread, or one element of the reference.
pub(crate) trait Elements<F> {
    /// The result.
    type Output;

    /// Calls `step` with each element, its gradient and its states. Each rule calls it in one place, so that the loop is compiled
    /// only for its formula.
    fn each<const N: usize>(self, step: impl Fn(F, F, &mut [F; N]) -> F) -> Self::Output;
}

/// Decays come first; then the formula.
#[inline(always)]
fn each<F: Float, E: Elements<F>, const N: usize>(
    elements: E,
    c: Numbers<F>,
    formula: impl Fn(F, F, &mut [F; N]) -> F,
) -> E::Output {
    elements.each(
        #[inline(always)]
        move |p, g, states| formula(p * c.shrink, c.gradient(p, g), states),
    )
}

/// The running means of the gradient and of its square.
#[inline(always)]
fn moments<F: Float>(c: &Numbers<F>, g: F, m: &mut F, v: &mut F) {
    *m = c.beta1 * *m + c.one_minus_beta1 * g;
    *v = c.beta2 * *v + c.one_minus_beta2 * g * g;
}

/// The gradient's standard deviation, of running means of its square and of itself.
#[inline(always)]
fn deviation<F: Float>(c: &Numbers<F>, g: F, v: &mut F, mean: &mut F) -> F {
    *v = c.beta2 * *v + c.one_minus_beta2 * g * g;
    *mean = c.beta2 * *mean + c.one_minus_beta2 * g;
    // Rounding may take the difference below 0.
    (*v - *mean * *mean).max(F::ZERO).sqrt()
}

/// LAMB's direction from the new moments: Adam's, with decoupled decay. The step is `lr` · [`trust`] · direction.
#[inline(always)]
pub(crate) fn direction<F: Float>(c: &Numbers<F>, p: F, m: F, v: F) -> F {
    m * c.extra / (v.sqrt() * c.inv_sqrt_bias2 + c.eps) + c.decay * p
}

/// LAMB's trust ratio from sums of squares of weights and steps: ‖w‖ / ‖d‖, 1 if either is 0.
pub(crate) fn trust(weight: f64, step: f64) -> f64 {
    if weight > 0.0 && step > 0.0 { weight.sqrt() / step.sqrt() } else { 1.0 }
}
