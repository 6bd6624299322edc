//! Cross-entropy of logits with integer labels, and its gradient. Labels out of range clamp.

use super::softmax::{exponentials, rows_of_task};
use crate::cpu::simd::vectorize;
use crate::math::fast;
use bytemuck::{cast_slice, cast_slice_mut};
use rayon::prelude::*;

/// The nearest index in `0..len`.
pub(super) fn clamp(index: i32, len: usize) -> usize {
    usize::try_from(index).unwrap_or(0).min(len.saturating_sub(1))
}

/// `out[i] = -log_softmax(logits)[i, labels[i]]`.
pub(super) fn loss(cols: usize, operands: &[&[u32]], out: &mut [u32]) {
    let (logits, labels): (&[f32], &[i32]) = (cast_slice(operands[0]), cast_slice(operands[1]));
    let out: &mut [f32] = cast_slice_mut(out);
    let rows = rows_of_task(cols);
    out.par_chunks_mut(rows).zip(logits.par_chunks(rows * cols.max(1))).zip(labels.par_chunks(rows)).for_each(
        |((out, logits), labels)| {
            let mut scratch = vec![0.0; cols];
            for ((out, x), &label) in out.iter_mut().zip(logits.chunks(cols)).zip(labels) {
                let (max, sum) = vectorize(
                    #[inline(always)]
                    || exponentials(x, &mut scratch),
                );
                let at = x[clamp(label, cols)];
                *out = if max == f32::NEG_INFINITY { f32::INFINITY } else { fast::log(sum) - (at - max) };
            }
        },
    );
}

/// `out = (softmax(logits) - one_hot(labels)) * ct`.
pub(super) fn gradient(cols: usize, operands: &[&[u32]], out: &mut [u32]) {
    let (logits, labels): (&[f32], &[i32]) = (cast_slice(operands[0]), cast_slice(operands[1]));
    let (ct, out): (&[f32], &mut [f32]) = (cast_slice(operands[2]), cast_slice_mut(out));
    let rows = rows_of_task(cols);
    let tasks = out.par_chunks_mut(rows * cols.max(1)).zip(logits.par_chunks(rows * cols.max(1)));
    tasks.zip(labels.par_chunks(rows)).zip(ct.par_chunks(rows)).for_each(|(((out, logits), labels), ct)| {
        for (((out, x), &label), &ct) in out.chunks_mut(cols).zip(logits.chunks(cols)).zip(labels).zip(ct) {
            vectorize(
                #[inline(always)]
                || {
                    let (_, sum) = exponentials(x, out);
                    out.iter_mut().for_each(|o| *o /= sum);
                    out[clamp(label, cols)] -= 1.0;
                    out.iter_mut().for_each(|o| *o *= ct);
                },
            );
        }
    });
}

/// The same in f64, one element after the other.
pub(super) mod reference {
    use super::clamp;
    use crate::cpu::reference::{Numbers, Value};
    use crate::cpu::row::softmax::reference::row;
    use crate::error::Result;

    /// `-log_softmax(logits)[i, labels[i]]`.
    pub(crate) fn loss(logits: &Value, labels: &Value) -> Result<Numbers> {
        let cols = logits.shape[1];
        let rows = logits.floats()?.chunks(cols.max(1)).zip(labels.ints()?);
        Ok(Numbers::Float(rows.map(|(x, &label)| -row(x, true)[clamp(label, cols)]).collect()))
    }

    /// `(softmax(logits) - one_hot(labels)) * ct`.
    pub(crate) fn gradient(logits: &Value, labels: &Value, ct: &Value) -> Result<Numbers> {
        let cols = logits.shape[1];
        let mut out = Vec::new();
        for ((x, &label), ct) in logits.floats()?.chunks(cols.max(1)).zip(labels.ints()?).zip(ct.floats()?) {
            let mut p = row(x, false);
            p[clamp(label, cols)] -= 1.0;
            out.extend(p.iter().map(|p| p * ct));
        }
        Ok(Numbers::Float(out))
    }
}
