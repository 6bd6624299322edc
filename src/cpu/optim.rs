//! Optimizer updates: one pass over parameter, gradient and state.

use super::simd::vectorize;
use crate::error::{Error, Result};
use crate::graph::optim::{Coefficients, Gate};
use crate::graph::optim::{OptimRule, trust};
use crate::storage::Storage;
use crate::storage::bindings::OptimStore;
use crate::storage::cpu::{Buffer, words_mut};
use crate::sync::lock;
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

/// Updates `entries` of a store; `operands` are the gate, if there is one, and the gradients in the order of `entries`.
pub(super) fn run(rule: OptimRule, gated: bool, entries: &[u32], store: &OptimStore, operands: &[&[u32]]) -> Result<()> {
    let (gate, gradients) = operands.split_at(usize::from(gated).min(operands.len()));
    let gate = Gate::of(gate.first().map(|g| cast_slice(g)));
    if !gate.open {
        return Ok(());
    }
    let variants = Gate::variants(gated);
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
    // Per entry, how many pieces there are up to its end.
    let mut ends = Vec::new();
    for ((&entry, parameter), gradient) in entries.iter().zip(&mut parameters).zip(gradients) {
        let coefficients = coefficients.get(entry as usize * variants + gate.variant);
        let coefficients = coefficients.ok_or_else(|| Error::internal("an entry has no coefficients"))?;
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
        ends.push(pieces.len());
    }
    if rule == OptimRule::Lamb {
        lamb(pieces, &ends);
        return Ok(());
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
        OptimRule::Lion => {
            for ((p, &g), m) in elements.zip(s0) {
                let g = gradient(*p, g);
                let d = c.beta1 * *m + c.one_minus_beta1 * g;
                // The sign; 0 and NaN stay.
                let sign = if d == 0.0 || d.is_nan() { d } else { 1f32.copysign(d) };
                *m = c.beta2 * *m + c.one_minus_beta2 * g;
                *p = *p * c.shrink - c.lr * sign;
            }
        }
        OptimRule::AdaDelta => {
            for (((p, &g), v), u) in elements.zip(s0).zip(s1) {
                let g = gradient(*p, g);
                *v = c.beta2 * *v + c.one_minus_beta2 * g * g;
                let d = (*u + c.eps).sqrt() / (*v + c.eps).sqrt() * g;
                *u = c.beta2 * *u + c.one_minus_beta2 * d * d;
                *p = *p * c.shrink - c.lr * d;
            }
        }
        OptimRule::Adamax => {
            for (((p, &g), m), u) in elements.zip(s0).zip(s1) {
                let g = gradient(*p, g);
                *m = c.beta1 * *m + c.one_minus_beta1 * g;
                *u = (c.beta2 * *u).max(g.abs() + c.eps);
                *p = *p * c.shrink - c.lr * *m / *u;
            }
        }
        OptimRule::NAdam => {
            for (((p, &g), m), v) in elements.zip(s0).zip(s1) {
                let g = gradient(*p, g);
                *m = c.beta1 * *m + c.one_minus_beta1 * g;
                *v = c.beta2 * *v + c.one_minus_beta2 * g * g;
                *p = *p * c.shrink - (c.lr * g + c.extra * *m) / (v.sqrt() * c.inv_sqrt_bias2 + c.eps);
            }
        }
        OptimRule::RAdam => {
            let adaptive = c.extra != 0.0;
            for (((p, &g), m), v) in elements.zip(s0).zip(s1) {
                let g = gradient(*p, g);
                *m = c.beta1 * *m + c.one_minus_beta1 * g;
                *v = c.beta2 * *v + c.one_minus_beta2 * g * g;
                let step = if adaptive { *m / (v.sqrt() + c.eps) } else { *m };
                *p = *p * c.shrink - c.lr * step;
            }
        }
        // It needs norms first: `lamb`.
        OptimRule::Lamb => {}
        OptimRule::AdaGrad => {
            for ((p, &g), sum) in elements.zip(s0) {
                let g = gradient(*p, g);
                *sum += g * g;
                *p = *p * c.shrink - c.lr * g / (sum.sqrt() + c.eps);
            }
        }
    }
}

/// LAMB: the moments and each piece's sums of squares; each entry's trust ratio; the step. `ends` says where entries end.
fn lamb(mut pieces: Vec<Piece>, ends: &[usize]) {
    let direction = |c: &Coefficients, p: f32, m: f32, v: f32| m * c.extra / (v.sqrt() * c.inv_sqrt_bias2 + c.eps) + c.decay * p;
    let moments = |piece: &mut Piece| {
        let c = piece.coefficients;
        let [s0, s1, _] = &mut piece.state;
        let (mut weight, mut step) = (0f64, 0f64);
        for (((&mut p, &g), m), v) in piece.parameter.iter_mut().zip(piece.gradient).zip(s0.iter_mut()).zip(s1.iter_mut()) {
            let g = g * c.grad_scale + c.l2 * p;
            *m = c.beta1 * *m + c.one_minus_beta1 * g;
            *v = c.beta2 * *v + c.one_minus_beta2 * g * g;
            let d = f64::from(direction(c, p, *m, *v));
            weight += f64::from(p) * f64::from(p);
            step += d * d;
        }
        (weight, step)
    };
    // Collected in order, and added in order: reruns agree bit for bit.
    let sums: Vec<(f64, f64)> = pieces.par_iter_mut().map(moments).collect();
    let mut ratios = Vec::with_capacity(pieces.len());
    for &end in ends {
        let own = &sums[ratios.len()..end];
        let (weight, step) = own.iter().fold((0.0, 0.0), |(w, s), part| (w + part.0, s + part.1));
        #[allow(clippy::cast_possible_truncation, reason = "the step is taken in single precision")]
        ratios.resize(end, trust(weight, step) as f32);
    }
    pieces.into_par_iter().zip(ratios).for_each(|(piece, ratio)| {
        let c = piece.coefficients;
        let [s0, s1, _] = piece.state;
        for ((p, &mut m), &mut v) in piece.parameter.iter_mut().zip(s0).zip(s1) {
            *p -= c.lr * ratio * direction(c, *p, m, v);
        }
    });
}
