//! Optimizer updates, one element at a time, in PyTorch's order of operations.

use super::{Precision, Value};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::optim::OptimRule;
use crate::graph::optim::trust;
use crate::graph::optim::{Coefficients, Gate};

/// The contents of an optimizer store.
#[derive(Debug, Clone)]
pub(crate) struct StoreValues {
    /// The parameters' type, which results are rounded to.
    pub dtype: DType,
    /// Per entry, its parameter.
    pub parameters: Vec<Vec<f64>>,
    /// `state[s * parameters.len() + e]`: state value s of entry e.
    pub state: Vec<Vec<f64>>,
    /// Per entry, this step's numbers, in each variant if the step is gated.
    pub coefficients: Vec<Coefficients>,
}

/// Updates `entries`; `operands` are the gate, if there is one, and the gradients.
pub(crate) fn step(
    rule: OptimRule,
    gated: bool,
    entries: &[u32],
    store: &mut StoreValues,
    operands: &[&Value],
    precision: Precision,
) -> Result<()> {
    let (gate, gradients) = operands.split_at(usize::from(gated).min(operands.len()));
    let words = match gate.first() {
        Some(gate) => Some(gate.floats()?.iter().map(|&x| x as f32).collect::<Vec<f32>>()),
        None => None,
    };
    let gate = Gate::of(words.as_deref());
    if !gate.open {
        return Ok(());
    }
    let count = store.parameters.len();
    let round = |x: f64| if store.dtype == DType::F32 && precision == Precision::Native { f64::from(x as f32) } else { x };
    for (&entry, gradient) in entries.iter().zip(gradients) {
        let entry = entry as usize;
        let (Some(c), true) = (store.coefficients.get(entry * Gate::variants(gated) + gate.variant), entry < count) else {
            return Err(Error::internal(format!("the store has no entry {entry}")));
        };
        let c = *c;
        if rule == OptimRule::Lamb {
            // Two passes: the step of an element needs the norms of all.
            let (mut weight, mut squares) = (0.0, 0.0);
            let mut directions = Vec::new();
            for (i, &g) in gradient.floats()?.iter().enumerate() {
                let p = store.parameters[entry][i];
                let mut state = [store.state[entry][i], store.state[count + entry][i]];
                let d = lamb(&c, p, g, &mut state);
                (store.state[entry][i], store.state[count + entry][i]) = (round(state[0]), round(state[1]));
                weight += p * p;
                squares += d * d;
                directions.push(d);
            }
            let rate = f64::from(c.lr) * trust(weight, squares);
            for (p, d) in store.parameters[entry].iter_mut().zip(directions) {
                *p = round(*p - rate * d);
            }
            continue;
        }
        for (i, &g) in gradient.floats()?.iter().enumerate() {
            let mut state: Vec<f64> = (0..rule.states()).map(|s| store.state[s * count + entry][i]).collect();
            let p = update(rule, &c, store.parameters[entry][i], g, &mut state);
            store.parameters[entry][i] = round(p);
            for (s, value) in state.into_iter().enumerate() {
                store.state[s * count + entry][i] = round(value);
            }
        }
    }
    Ok(())
}

/// LAMB's direction for an element; `state` is updated in place.
fn lamb(c: &Coefficients, p: f64, g: f64, state: &mut [f64]) -> f64 {
    let of = |x: f32| f64::from(x);
    let g = g * of(c.grad_scale) + of(c.l2) * p;
    state[0] = of(c.beta1) * state[0] + of(c.one_minus_beta1) * g;
    state[1] = of(c.beta2) * state[1] + of(c.one_minus_beta2) * g * g;
    state[0] * of(c.extra) / (state[1].sqrt() * of(c.inv_sqrt_bias2) + of(c.eps)) + of(c.decay) * p
}

/// The new value of a parameter element p with gradient g; `state` is updated in place. LAMB takes the element for a whole
/// parameter.
pub(crate) fn update(rule: OptimRule, c: &Coefficients, p: f64, g: f64, state: &mut [f64]) -> f64 {
    let of = |x: f32| f64::from(x);
    if rule == OptimRule::Lamb {
        let d = lamb(c, p, g, state);
        return p - of(c.lr) * trust(p * p, d * d) * d;
    }
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
        OptimRule::Lion => {
            let d = beta1 * state[0] + of(c.one_minus_beta1) * g;
            state[0] = beta2 * state[0] + of(c.one_minus_beta2) * g;
            p - lr * if d == 0.0 || d.is_nan() { d } else { d.signum() }
        }
        OptimRule::AdaDelta => {
            state[0] = beta2 * state[0] + of(c.one_minus_beta2) * g * g;
            let d = (state[1] + eps).sqrt() / (state[0] + eps).sqrt() * g;
            state[1] = beta2 * state[1] + of(c.one_minus_beta2) * d * d;
            p - lr * d
        }
        OptimRule::Adamax => {
            state[0] = beta1 * state[0] + of(c.one_minus_beta1) * g;
            state[1] = (beta2 * state[1]).max(g.abs() + eps);
            p - lr * state[0] / state[1]
        }
        OptimRule::NAdam | OptimRule::RAdam => {
            state[0] = beta1 * state[0] + of(c.one_minus_beta1) * g;
            state[1] = beta2 * state[1] + of(c.one_minus_beta2) * g * g;
            let root = state[1].sqrt();
            match rule {
                OptimRule::NAdam => p - (lr * g + of(c.extra) * state[0]) / (root * of(c.inv_sqrt_bias2) + eps),
                _ if c.extra != 0.0 => p - lr * state[0] / (root + eps),
                _ => p - lr * state[0],
            }
        }
        // Above.
        OptimRule::Lamb => p,
        OptimRule::AdaGrad => {
            state[0] += g * g;
            p - lr * g / (state[0].sqrt() + eps)
        }
    }
}
