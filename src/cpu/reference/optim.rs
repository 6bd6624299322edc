//! Optimizer updates, one element at a time, in PyTorch's order of operations.

use super::{Precision, Value};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::op::OptimRule;
use crate::optim::store::Coefficients;

/// The contents of an optimizer store.
#[derive(Debug, Clone)]
pub(crate) struct StoreValues {
    /// The parameters' type, which results are rounded to.
    pub dtype: DType,
    /// Per entry, its parameter.
    pub parameters: Vec<Vec<f64>>,
    /// `state[s * parameters.len() + e]`: state value s of entry e.
    pub state: Vec<Vec<f64>>,
    /// Per entry, this step's numbers.
    pub coefficients: Vec<Coefficients>,
}

/// Updates `entries` with their gradients.
pub(super) fn step(
    rule: OptimRule,
    entries: &[u32],
    store: &mut StoreValues,
    gradients: &[&Value],
    precision: Precision,
) -> Result<()> {
    let count = store.parameters.len();
    let round = |x: f64| if store.dtype == DType::F32 && precision == Precision::Native { f64::from(x as f32) } else { x };
    for (&entry, gradient) in entries.iter().zip(gradients) {
        let entry = entry as usize;
        let (Some(c), true) = (store.coefficients.get(entry), entry < count) else {
            return Err(Error::internal(format!("the store has no entry {entry}")));
        };
        for (i, &g) in gradient.floats()?.iter().enumerate() {
            let mut state: Vec<f64> = (0..rule.states()).map(|s| store.state[s * count + entry][i]).collect();
            let p = update(rule, c, store.parameters[entry][i], g, &mut state);
            store.parameters[entry][i] = round(p);
            for (s, value) in state.into_iter().enumerate() {
                store.state[s * count + entry][i] = round(value);
            }
        }
    }
    Ok(())
}

/// The new value of a parameter element p with gradient g; `state` is updated in place.
pub(crate) fn update(rule: OptimRule, c: &Coefficients, p: f64, g: f64, state: &mut [f64]) -> f64 {
    let of = |x: f32| f64::from(x);
    let (lr, eps, beta1, beta2) = (of(c.lr), of(c.eps), of(c.beta1), of(c.beta2));
    let g = g * of(c.grad_scale) + of(c.l2) * p;
    let p = p * of(c.shrink);
    match rule {
        OptimRule::Sgd { momentum: false, .. } => p - lr * g,
        OptimRule::Sgd { momentum: true, nesterov } => {
            state[0] = beta1 * state[0] + of(c.one_minus_beta1) * g;
            let direction = if nesterov { g + beta1 * state[0] } else { state[0] };
            p - lr * direction
        }
        OptimRule::Adam { amsgrad } => {
            state[0] = beta1 * state[0] + of(c.one_minus_beta1) * g;
            state[1] = beta2 * state[1] + of(c.one_minus_beta2) * g * g;
            let mut v = state[1];
            if amsgrad {
                state[2] = state[2].max(v);
                v = state[2];
            }
            p - lr * state[0] / (v.sqrt() * of(c.inv_sqrt_bias2) + eps)
        }
        OptimRule::RmsProp { centered, momentum } => {
            state[0] = beta2 * state[0] + of(c.one_minus_beta2) * g * g;
            let mut variance = state[0];
            if centered {
                state[1] = beta2 * state[1] + of(c.one_minus_beta2) * g;
                variance -= state[1] * state[1];
            }
            let direction = g / (variance.sqrt() + eps);
            if momentum {
                let velocity = 1 + usize::from(centered);
                state[velocity] = beta1 * state[velocity] + direction;
                p - lr * state[velocity]
            } else {
                p - lr * direction
            }
        }
        OptimRule::AdaGrad => {
            state[0] += g * g;
            p - lr * g / (state[0].sqrt() + eps)
        }
    }
}
