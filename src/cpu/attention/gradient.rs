//! The gradient of attention, from the logarithms of the sums of exponentials: with P the weights, `dV = Pᵀ·dO`,
//! `dS = P∘(dO·Vᵀ - D)·scale` where D are the sums over rows of `dO∘O`, `dQ = dS·K` and `dK = dSᵀ·Q`.
//!
//! Source: T. Dao et al., "FlashAttention: fast and memory-efficient exact attention with IO-awareness", 2022.

use super::blocks::{COLUMNS, ROWS, from_row, matrix};
use super::scores::Sight;
use crate::cpu::gemm::gemm;
use crate::cpu::matrix::Matrix;
use crate::cpu::scratch::with_scratch;
use crate::cpu::simd::vectorize;
use crate::error::Result;
use crate::graph::attention::AttentionSizes;
use crate::math::fast;
use crate::plan::Attention;
use bytemuck::cast_slice;
use rayon::prelude::*;

/// Tasks from which on each has a thread of its own; fewer share threads in their products.
const TASKS: usize = 8;

/// Weights and their gradients of a block, a block's gradients of queries, and a head's of keys and values.
pub(super) fn scratch(n: &AttentionSizes) -> usize {
    ROWS * (2 * COLUMNS.min(n.keys) + n.width + 1) + n.keys * (n.width + n.value_width)
}

/// What a task writes: the rows of one head of keys.
#[derive(Default)]
struct Rows<'a> {
    /// Query by query, the heads that share the keys.
    q: Vec<&'a mut [f32]>,
    k: Vec<&'a mut [f32]>,
    v: Vec<&'a mut [f32]>,
}

/// Fills `[dq | dk | dv]`.
pub(super) fn run(kernel: &Attention, operands: &[&[u32]], out: &mut [f32]) -> Result<()> {
    let n = kernel.sizes;
    let (dq, rest) = out.split_at_mut(n.rows() * n.width);
    let (dk, dv) = rest.split_at_mut(n.key_rows() * n.width);
    let mut tasks: Vec<Rows> = (0..n.batch * n.key_heads).map(|_| Rows::default()).collect();
    for (i, row) in dq.chunks_mut(n.width).enumerate() {
        tasks[i / n.heads / n.queries * n.key_heads + i % n.heads / n.group()].q.push(row);
    }
    let of = |i: usize| i / n.key_heads / n.keys * n.key_heads + i % n.key_heads;
    dk.chunks_mut(n.width).enumerate().for_each(|(i, row)| tasks[of(i)].k.push(row));
    dv.chunks_mut(n.value_width).enumerate().for_each(|(i, row)| tasks[of(i)].v.push(row));
    let parallel = tasks.len() < TASKS;
    tasks
        .into_par_iter()
        .enumerate()
        .try_for_each(|(i, rows)| head(kernel, operands, [i / n.key_heads, i % n.key_heads], rows, parallel))
}

/// One head of keys, and the heads of queries that share it, one after the other.
#[allow(clippy::cast_possible_truncation, reason = "an offset is within a buffer in memory")]
fn head(kernel: &Attention, operands: &[&[u32]], [example, key_head]: [usize; 2], mut rows: Rows, parallel: bool) -> Result<()> {
    let n = kernel.sizes;
    let (d, e) = (n.width, n.value_width);
    let [k, v] = [1, 2].map(|i| matrix(&kernel.operands[i], operands[i], [example, key_head]));
    let forward: &[f32] = cast_slice(operands[3]);
    with_scratch(scratch(&n), |memory| {
        let columns = COLUMNS.min(n.keys);
        let (weights, rest) = memory.split_at_mut(ROWS * columns);
        let (slopes, rest) = rest.split_at_mut(ROWS * columns);
        let (dq, rest) = rest.split_at_mut(ROWS * d);
        let (dots, rest) = rest.split_at_mut(ROWS);
        let (dk, dv) = rest.split_at_mut(n.keys * d);
        dk.fill(0.0);
        dv.fill(0.0);
        for member in 0..n.group() {
            let head = key_head * n.group() + member;
            let sight = Sight::of(kernel, operands, [example, head]);
            let q = matrix(&kernel.operands[0], operands[0], [example, head]);
            let out_gradient = matrix(&kernel.operands[4], operands[4], [example, head]);
            for first in (0..n.queries).step_by(ROWS) {
                let count = ROWS.min(n.queries - first);
                let lse = n.rows() * e + (example * n.heads + head) * n.queries + first;
                let lse = &forward[kernel.operands[3].offset as usize + lse..][..count];
                for (r, dot) in dots[..count].iter_mut().enumerate() {
                    let o = ((example * n.queries + first + r) * n.heads + head) * e;
                    let o = &forward[kernel.operands[3].offset as usize + o..][..e];
                    *dot = vectorize(
                        #[inline(always)]
                        || product(o, out_gradient.line(first + r, e)),
                    );
                }
                let dq = &mut dq[..count * d];
                dq.fill(0.0);
                let keys = sight.keys(first + count, n.keys);
                for start in (0..keys).step_by(COLUMNS) {
                    let stop = (start + COLUMNS).min(keys);
                    let size = stop - start;
                    let (weights, slopes) = (&mut weights[..count * size], &mut slopes[..count * size]);
                    sight.scores([q, k], [first..first + count, start..stop], d, weights, parallel)?;
                    let out_gradient = from_row(out_gradient, first);
                    gemm([count, size, e], slopes, false, out_gradient, from_row(v, start).transposed(), parallel)?;
                    for (r, (w, s)) in weights.chunks_mut(size).zip(slopes.chunks_mut(size)).enumerate() {
                        let (lse, dot, factor) = (lse[r], dots[r], sight.factor());
                        vectorize(
                            #[inline(always)]
                            || {
                                for (w, s) in w.iter_mut().zip(s) {
                                    let hidden = *w == f32::NEG_INFINITY;
                                    *w = if hidden { 0.0 } else { fast::exp(*w - lse) };
                                    *s = if hidden { 0.0 } else { *w * (*s - dot) * factor };
                                }
                            },
                        );
                    }
                    let (weights, slopes) = (Matrix::rows_of(size, weights), Matrix::rows_of(size, slopes));
                    gemm([size, e, count], &mut dv[start * e..stop * e], true, weights.transposed(), out_gradient, parallel)?;
                    gemm(
                        [size, d, count],
                        &mut dk[start * d..stop * d],
                        true,
                        slopes.transposed(),
                        from_row(q, first),
                        parallel,
                    )?;
                    gemm([count, d, size], dq, true, slopes, from_row(k, start), parallel)?;
                }
                for (r, row) in dq.chunks(d).enumerate() {
                    rows.q[(first + r) * n.group() + member].copy_from_slice(row);
                }
            }
        }
        rows.k.iter_mut().zip(dk.chunks(d)).for_each(|(out, row)| out.copy_from_slice(row));
        rows.v.iter_mut().zip(dv.chunks(e)).for_each(|(out, row)| out.copy_from_slice(row));
        Ok(())
    })
}

/// `Σ a·b`, with as many partial sums on every machine.
#[inline(always)]
fn product(a: &[f32], b: &[f32]) -> f32 {
    let (mut lanes, mut rest) = ([0.0f32; 16], 0.0);
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    for (a, b) in a_rest.iter().zip(b_rest) {
        rest += a * b;
    }
    lanes.iter().sum::<f32>() + rest
}
