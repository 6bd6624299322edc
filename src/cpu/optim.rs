//! Optimizer updates: one pass over parameter, gradient and state.

use super::lock;
use super::simd::vectorize;
use super::{Buffer, words_mut};
use crate::error::{Error, Result};
use crate::graph::op::OptimRule;
use crate::optim::store::{Coefficients, OptimStore};
use crate::plan::Storage;
use bytemuck::{cast_slice, cast_slice_mut};
use rayon::prelude::*;

/// Elements of a parallel task.
const PIECE: usize = 16 << 10;

/// A part of one entry: its coefficients, parameters, gradients and up to three state values.
struct Piece<'a> {
    coefficients: &'a Coefficients,
    parameter: &'a mut [f32],
    gradient: &'a [f32],
    state: [&'a mut [f32]; 3],
}

/// The CPU buffer of a storage.
pub(super) fn buffer(storage: &Storage) -> Result<&Buffer> {
    match storage {
        Storage::Cpu(buffer) => Ok(buffer),
        Storage::Gpu(_) => Err(Error::internal("a GPU buffer is bound on the CPU device")),
    }
}

/// Updates `entries` of a store; `gradients[i]` belongs to `entries[i]`.
pub(super) fn run(rule: OptimRule, entries: &[u32], store: &OptimStore, gradients: &[&[u32]]) -> Result<()> {
    let count = store.entries.len();
    let coefficients = lock(&store.coefficients).clone();
    // Every guard is taken before any slice is split, as the pieces of all entries run together.
    let mut parameters = Vec::new();
    let mut states = Vec::new();
    for &entry in entries {
        let entry = entry as usize;
        let parameter = store.entries.get(entry).ok_or_else(|| Error::internal(format!("the store has no entry {entry}")))?;
        parameters.push(buffer(&parameter.parameter)?.write());
        for s in 0..rule.states() {
            let state = store.state.get(s * count + entry).ok_or_else(|| Error::internal("the store lacks state"))?;
            states.push(buffer(state)?.write());
        }
    }
    let mut states = states.iter_mut();
    let mut pieces = Vec::new();
    for ((&entry, parameter), gradient) in entries.iter().zip(&mut parameters).zip(gradients) {
        let coefficients = coefficients.get(entry as usize).ok_or_else(|| Error::internal("an entry has no coefficients"))?;
        let mut parameter: &mut [f32] = cast_slice_mut(words_mut(parameter));
        let mut gradient: &[f32] = cast_slice(gradient);
        let mut state: [&mut [f32]; 3] = Default::default();
        for slot in state.iter_mut().take(rule.states()) {
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
            for (part, state) in part.iter_mut().zip(&mut state).take(rule.states()) {
                *part = state.split_off_mut(..n).unwrap_or_default();
            }
            let parameter = parameter.split_off_mut(..n).unwrap_or_default();
            let gradient = gradient.split_off(..n).unwrap_or_default();
            pieces.push(Piece { coefficients, parameter, gradient, state: part });
        }
    }
    pieces.into_par_iter().for_each(|piece| {
        vectorize(
            #[inline(always)]
            || update(rule, piece),
        );
    });
    Ok(())
}

#[inline(always)]
fn update(rule: OptimRule, piece: Piece) {
    let c = piece.coefficients;
    let [s0, s1, s2] = piece.state;
    let elements = piece.parameter.iter_mut().zip(piece.gradient);
    let gradient = |p: f32, g: f32| g * c.grad_scale + c.l2 * p;
    match rule {
        OptimRule::Sgd { momentum: false, .. } => {
            for (p, &g) in elements {
                *p = *p * c.shrink - c.lr * gradient(*p, g);
            }
        }
        OptimRule::Sgd { momentum: true, nesterov } => {
            for ((p, &g), v) in elements.zip(s0) {
                let g = gradient(*p, g);
                *v = c.beta1 * *v + c.one_minus_beta1 * g;
                let direction = if nesterov { g + c.beta1 * *v } else { *v };
                *p = *p * c.shrink - c.lr * direction;
            }
        }
        OptimRule::Adam { amsgrad: false } => {
            for (((p, &g), m), v) in elements.zip(s0).zip(s1) {
                let g = gradient(*p, g);
                *m = c.beta1 * *m + c.one_minus_beta1 * g;
                *v = c.beta2 * *v + c.one_minus_beta2 * g * g;
                *p = *p * c.shrink - c.lr * *m / (v.sqrt() * c.inv_sqrt_bias2 + c.eps);
            }
        }
        OptimRule::Adam { amsgrad: true } => {
            for ((((p, &g), m), v), max) in elements.zip(s0).zip(s1).zip(s2) {
                let g = gradient(*p, g);
                *m = c.beta1 * *m + c.one_minus_beta1 * g;
                *v = c.beta2 * *v + c.one_minus_beta2 * g * g;
                *max = max.max(*v);
                *p = *p * c.shrink - c.lr * *m / (max.sqrt() * c.inv_sqrt_bias2 + c.eps);
            }
        }
        OptimRule::RmsProp { centered, momentum } => {
            let (mean, velocity) = if centered { (s1, s2) } else { (s2, s1) };
            for (i, ((p, &g), v)) in elements.zip(s0).enumerate() {
                let g = gradient(*p, g);
                *v = c.beta2 * *v + c.one_minus_beta2 * g * g;
                let mut variance = *v;
                if centered {
                    mean[i] = c.beta2 * mean[i] + c.one_minus_beta2 * g;
                    variance -= mean[i] * mean[i];
                }
                let mut direction = g / (variance.sqrt() + c.eps);
                if momentum {
                    velocity[i] = c.beta1 * velocity[i] + direction;
                    direction = velocity[i];
                }
                *p = *p * c.shrink - c.lr * direction;
            }
        }
        OptimRule::AdaGrad => {
            for ((p, &g), sum) in elements.zip(s0) {
                let g = gradient(*p, g);
                *sum += g * g;
                *p = *p * c.shrink - c.lr * g / (sum.sqrt() + c.eps);
            }
        }
    }
}
