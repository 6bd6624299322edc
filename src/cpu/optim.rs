//! Optimizer updates: one pass over parameter, gradient and state.

use super::simd::vectorize;
use crate::error::{Error, Result};
use crate::graph::optim::{Coefficients, Elements, Gate, OptimRule, direction, trust};
use crate::storage::bindings::OptimStore;
use crate::storage::cpu::words_mut;
use crate::sync::lock;
use bytemuck::{cast_slice, cast_slice_mut};
use rayon::prelude::*;

/// Elements of a parallel task.
const PIECE: usize = 16 << 10;

/// A part of one entry: its coefficients, parameters, gradients and up to three state values, all of the same length.
struct Piece<'a> {
    coefficients: &'a Coefficients,
    parameter: &'a mut [f32],
    gradient: &'a [f32],
    state: [&'a mut [f32]; 3],
}

impl Piece<'_> {
    /// Calls `step` with each element, its gradient and its states.
    #[inline(always)]
    fn visit<const N: usize>(&mut self, mut step: impl FnMut(&mut f32, f32, &mut [f32; N])) {
        const { assert!(N <= 3, "a piece has three state values") };
        let [a, b, c] = &mut self.state;
        // A loop for each number of states: slices in an array would keep the compiler from vectorizing it.
        let mut state = [0.0; N];
        let elements = self.parameter.iter_mut().zip(self.gradient);
        match N {
            0 => {
                for (p, &g) in elements {
                    step(p, g, &mut state);
                }
            }
            1 => {
                for ((p, &g), a) in elements.zip(a.iter_mut()) {
                    state[0] = *a;
                    step(p, g, &mut state);
                    *a = state[0];
                }
            }
            2 => {
                for (((p, &g), a), b) in elements.zip(a.iter_mut()).zip(b.iter_mut()) {
                    (state[0], state[1]) = (*a, *b);
                    step(p, g, &mut state);
                    (*a, *b) = (state[0], state[1]);
                }
            }
            _ => {
                for ((((p, &g), a), b), c) in elements.zip(a.iter_mut()).zip(b.iter_mut()).zip(c.iter_mut()) {
                    (state[0], state[1], state[2]) = (*a, *b, *c);
                    step(p, g, &mut state);
                    (*a, *b, *c) = (state[0], state[1], state[2]);
                }
            }
        }
    }
}

/// Puts each element's new value in place.
impl Elements<f32> for Piece<'_> {
    type Output = ();

    #[inline(always)]
    fn each<const N: usize>(mut self, step: impl Fn(f32, f32, &mut [f32; N]) -> f32) {
        vectorize(
            #[inline(always)]
            move || {
                self.visit(
                    #[inline(always)]
                    move |p, g, state| *p = step(*p, g, state),
                );
            },
        );
    }
}

/// Sums of squares of parameters and directions, which leave the parameters as they are.
struct Norms<'a, 'b>(&'b mut Piece<'a>);

impl Elements<f32> for Norms<'_, '_> {
    type Output = (f64, f64);

    #[inline(always)]
    fn each<const N: usize>(self, step: impl Fn(f32, f32, &mut [f32; N]) -> f32) -> (f64, f64) {
        let mut sums = (0f64, 0f64);
        self.0.visit(
            #[inline(always)]
            |p, g, state| {
                let d = f64::from(step(*p, g, state));
                sums = (sums.0 + f64::from(*p) * f64::from(*p), sums.1 + d * d);
            },
        );
        sums
    }
}

/// Updates `entries` of a store; `operands` are the gate, if there is one, and the gradients in the order of `entries`.
pub(super) fn run(rule: OptimRule, gated: bool, entries: &[u32], store: &OptimStore, operands: &[&[u32]]) -> Result<()> {
    let (gate, gradients) = operands.split_at(usize::from(gated).min(operands.len()));
    let gate = Gate::of(gate.first().map(|g| cast_slice(g)));
    if !gate.open {
        return Ok(());
    }
    let variants = Gate::variants(gated);
    let (count, arrays) = (store.entries.len(), rule.states());
    let coefficients = lock(&store.coefficients).clone();
    // Every guard is taken before any slice is split, as the pieces of all entries run together.
    let mut parameters = Vec::new();
    let mut states = Vec::new();
    for &entry in entries {
        let entry = entry as usize;
        let parameter = store.entries.get(entry).ok_or_else(|| Error::internal(format!("the store has no entry {entry}")))?;
        parameters.push(parameter.parameter.on_cpu()?.write());
        for s in 0..arrays {
            let state = store.state.get(s * count + entry).ok_or_else(|| Error::internal("the store lacks state"))?;
            states.push(state.on_cpu()?.write());
        }
    }
    let mut states = states.iter_mut();
    let mut pieces = Vec::new();
    // Per entry, how many pieces there are up to its end.
    let mut ends = Vec::new();
    for ((&entry, parameter), gradient) in entries.iter().zip(&mut parameters).zip(gradients) {
        let coefficients = coefficients.get(entry as usize * variants + gate.variant);
        let coefficients = coefficients.ok_or_else(|| Error::internal("an entry has no coefficients"))?;
        let mut parameter: &mut [f32] = cast_slice_mut(words_mut(parameter));
        let mut gradient: &[f32] = cast_slice(gradient);
        let mut state: [&mut [f32]; 3] = Default::default();
        for slot in state.iter_mut().take(arrays) {
            *slot = states.next().map(|s| cast_slice_mut(words_mut(s))).unwrap_or_default();
            if slot.len() != parameter.len() {
                return Err(Error::internal("optimizer state and parameter differ in length"));
            }
        }
        if gradient.len() != parameter.len() {
            return Err(Error::internal("gradient and parameter differ in length"));
        }
        while !parameter.is_empty() {
            let n = PIECE.min(parameter.len());
            let mut part: [&mut [f32]; 3] = Default::default();
            for (part, state) in part.iter_mut().zip(&mut state).take(arrays) {
                *part = state.split_off_mut(..n).unwrap_or_default();
            }
            let parameter = parameter.split_off_mut(..n).unwrap_or_default();
            let gradient = gradient.split_off(..n).unwrap_or_default();
            pieces.push(Piece { coefficients, parameter, gradient, state: part });
        }
        ends.push(pieces.len());
    }
    if rule == OptimRule::Lamb {
        lamb(pieces, &ends);
    } else {
        pieces.into_par_iter().for_each(|piece| rule.update(piece.coefficients, piece));
    }
    Ok(())
}

/// LAMB: the moments and each piece's sums of squares; each entry's trust ratio; the step. `ends` says where entries end.
fn lamb(mut pieces: Vec<Piece>, ends: &[usize]) {
    let norms = |piece: &mut Piece| OptimRule::Lamb.update(piece.coefficients, Norms(piece));
    // Collected in order, and added in order: reruns agree bit for bit.
    let sums: Vec<(f64, f64)> = pieces.par_iter_mut().map(norms).collect();
    let mut ratios = Vec::with_capacity(pieces.len());
    for &end in ends {
        let own = &sums[ratios.len()..end];
        let (weight, step) = own.iter().fold((0.0, 0.0), |(w, s), part| (w + part.0, s + part.1));
        #[allow(clippy::cast_possible_truncation, reason = "the step is taken in single precision")]
        ratios.resize(end, trust(weight, step) as f32);
    }
    pieces.into_par_iter().zip(ratios).for_each(|(mut piece, ratio)| {
        let c = piece.coefficients.widen::<f32>();
        piece.visit(|p, _, [m, v]| *p -= c.lr * ratio * direction(&c, *p, *m, *v));
    });
}
