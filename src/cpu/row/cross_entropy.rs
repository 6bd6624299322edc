//! Cross-entropy of logits with integer labels, and its gradient. Labels out of range clamp; a check reports them.

use super::softmax::{exponentials, rows_of_task};
use crate::cpu::simd::vectorize;
use crate::math::fast;
use bytemuck::{cast_slice, cast_slice_mut};
use rayon::prelude::*;

/// The nearest index in `0..len`.
pub(super) fn clamp(index: i32, len: usize) -> usize {
    usize::try_from(index).unwrap_or(0).min(len.saturating_sub(1))
}

/// Losses, maxima and sums of rows, one after the other in `out`: see [`RowOp::CrossEntropy`](crate::graph::row::RowOp).
pub(super) fn loss(cols: usize, operands: &[&[u32]], out: &mut [u32]) {
    let (logits, labels): (&[f32], &[i32]) = (cast_slice(operands[0]), cast_slice(operands[1]));
    let (losses, kept) = cast_slice_mut::<u32, f32>(out).split_at_mut(labels.len());
    let (maxima, sums) = kept.split_at_mut(labels.len());
    let rows = rows_of_task(cols);
    let tasks = losses.par_chunks_mut(rows).zip(maxima.par_chunks_mut(rows)).zip(sums.par_chunks_mut(rows));
    tasks.zip(logits.par_chunks(rows * cols.max(1))).zip(labels.par_chunks(rows)).for_each(
        |((((losses, maxima), sums), logits), labels)| {
            let mut scratch = vec![0.0; cols];
            let kept = losses.iter_mut().zip(maxima).zip(sums);
            for ((((loss, top), total), x), &label) in kept.zip(logits.chunks(cols)).zip(labels) {
                let (max, sum) = vectorize(
                    #[inline(always)]
                    || exponentials(x, &mut scratch),
                );
                let at = x[clamp(label, cols)];
                let dead = max == f32::NEG_INFINITY;
                *loss = if dead { f32::INFINITY } else { fast::log(sum) - (at - max) };
                (*top, *total) = (max, if dead { 0.0 } else { sum });
            }
        },
    );
}

/// `out = (softmax(logits) - one_hot(labels)) * ct`, with the maximum and the sum of each row.
pub(super) fn gradient(cols: usize, operands: &[&[u32]], out: &mut [u32]) {
    let (logits, labels): (&[f32], &[i32]) = (cast_slice(operands[0]), cast_slice(operands[1]));
    let (_, kept) = cast_slice::<u32, f32>(operands[2]).split_at(labels.len());
    let (maxima, sums) = kept.split_at(labels.len());
    let (ct, out): (&[f32], &mut [f32]) = (cast_slice(operands[3]), cast_slice_mut(out));
    let rows = rows_of_task(cols);
    let tasks = out.par_chunks_mut(rows * cols.max(1)).zip(logits.par_chunks(rows * cols.max(1)));
    let kept = maxima.par_chunks(rows).zip(sums.par_chunks(rows));
    tasks.zip(labels.par_chunks(rows)).zip(kept).zip(ct.par_chunks(rows)).for_each(
        |((((out, logits), labels), (maxima, sums)), ct)| {
            let kept = maxima.iter().zip(sums).zip(ct);
            for (((out, x), &label), ((&max, &sum), &ct)) in out.chunks_mut(cols).zip(logits.chunks(cols)).zip(labels).zip(kept) {
                vectorize(
                    #[inline(always)]
                    || {
                        if sum == 0.0 {
                            out.fill(0.0);
                        } else {
                            out.iter_mut().zip(x).for_each(|(o, &x)| *o = fast::exp(x - max) / sum);
                        }
                        out[clamp(label, cols)] -= 1.0;
                        out.iter_mut().for_each(|o| *o *= ct);
                    },
                );
            }
        },
    );
}

/// The same in f64, one element after the other.
pub(super) mod reference {
    use super::clamp;
    use crate::cpu::reference::{Numbers, Value};
    use crate::cpu::row::softmax::reference::row;
    use crate::error::Result;
    use crate::math::exact::maximum;
    use crate::math::portable::exp;

    /// `-log_softmax(logits)[i, labels[i]]` of each row, then its maximum, then its `Σ e^(x - maximum)`.
    pub(crate) fn loss(logits: &Value, labels: &Value) -> Result<Numbers> {
        let cols = logits.shape[1];
        let (mut losses, mut maxima, mut sums) = (Vec::new(), Vec::new(), Vec::new());
        for (x, &label) in logits.floats()?.chunks(cols.max(1)).zip(labels.ints()?) {
            let max = x.iter().copied().fold(f64::NEG_INFINITY, maximum);
            losses.push(-row(x, true)[clamp(label, cols)]);
            maxima.push(max);
            sums.push(if max == f64::NEG_INFINITY { 0.0 } else { x.iter().map(|x| exp(x - max)).sum() });
        }
        Ok(Numbers::Float([losses, maxima, sums].concat()))
    }

    /// `(softmax(logits) - one_hot(labels)) * ct` for logits, labels, what [`loss`] gives, and ct.
    pub(crate) fn gradient([logits, labels, kept, ct]: [&Value; 4]) -> Result<Numbers> {
        let cols = logits.shape[1];
        let (kept, ct) = (kept.floats()?, ct.floats()?);
        let mut out = Vec::new();
        for (i, (x, &label)) in logits.floats()?.chunks(cols.max(1)).zip(labels.ints()?).enumerate() {
            let (max, sum) = (kept[ct.len() + i], kept[2 * ct.len() + i]);
            let mut p: Vec<f64> = x.iter().map(|x| if sum == 0.0 { 0.0 } else { exp(x - max) / sum }).collect();
            p[clamp(label, cols)] -= 1.0;
            out.extend(p.iter().map(|p| p * ct[i]));
        }
        Ok(Numbers::Float(out))
    }
}
