//! Optimizer updates in f64, one element at a time. The formulas are those of the CPU device: PyTorch's traces judge both.

use super::{Precision, Value};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::optim::{Coefficients, Elements, Gate, OptimRule, trust};

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
#[allow(clippy::cast_possible_truncation, reason = "f32 optimizers are rounded to f32 where they are stored")]
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
                let d = rule.update(&c, One { p, g, state: &mut state });
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

/// One element; the result is what the formula gives.
struct One<'a> {
    p: f64,
    g: f64,
    state: &'a mut [f64],
}

impl Elements<f64> for One<'_> {
    type Output = f64;

    fn each<const N: usize>(self, step: impl Fn(f64, f64, &mut [f64; N]) -> f64) -> f64 {
        // The caller passes as many states as the rule has.
        self.state.first_chunk_mut::<N>().map_or(f64::NAN, |state| step(self.p, self.g, state))
    }
}

/// The new value of a parameter element p with gradient g; `state` is updated in place. LAMB takes the element for a whole
/// parameter.
pub(crate) fn update(rule: OptimRule, c: &Coefficients, p: f64, g: f64, state: &mut [f64]) -> f64 {
    let new = rule.update(c, One { p, g, state });
    if rule == OptimRule::Lamb { p - f64::from(c.lr) * trust(p * p, new * new) * new } else { new }
}
