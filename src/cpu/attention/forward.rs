//! `softmax(q·kᵀ·scale + mask)·v`, with a running maximum and sum over blocks of keys.
//!
//! Source: T. Dao et al., "FlashAttention: fast and memory-efficient exact attention with IO-awareness", 2022.

use super::blocks::{COLUMNS, ROWS, from_row, matrix};
use super::scores::Sight;
use crate::cpu::gemm::gemm;
use crate::cpu::matrix::Matrix;
use crate::cpu::row::exponentials_below;
use crate::cpu::scratch::with_scratch;
use crate::cpu::simd::vectorize;
use crate::error::Result;
use crate::graph::attention::AttentionSizes;
use crate::math::fast;
use crate::plan::Attention;
use rayon::prelude::*;

/// Scores of a block, sums of values, and each query's maximum and sum.
pub(super) fn scratch(sizes: &AttentionSizes) -> usize {
    ROWS * (COLUMNS.min(sizes.keys) + sizes.value_width + 2)
}

/// Fills `[o | lse]`.
pub(super) fn run(kernel: &Attention, operands: &[&[u32]], out: &mut [f32]) -> Result<()> {
    let n = kernel.sizes;
    let (o, lse) = out.split_at_mut(n.rows() * n.value_width);
    let blocks = n.queries.div_ceil(ROWS);
    // Rows of the result lie example, query, head, and a task has some queries of one head.
    let mut tasks: Vec<Vec<&mut [f32]>> = (0..n.batch * n.heads * blocks).map(|_| Vec::with_capacity(ROWS)).collect();
    for (i, row) in o.chunks_mut(n.value_width).enumerate() {
        let (head, query, example) = (i % n.heads, i / n.heads % n.queries, i / n.heads / n.queries);
        tasks[(example * n.heads + head) * blocks + query / ROWS].push(row);
    }
    let lse = lse.chunks_mut(n.queries).flat_map(|head| head.chunks_mut(ROWS)).collect::<Vec<_>>();
    tasks.into_par_iter().zip(lse).enumerate().try_for_each(|(task, (rows, lse))| {
        let head = task / blocks;
        block(kernel, operands, [head / n.heads, head % n.heads], task % blocks * ROWS, rows, lse)
    })
}

/// The queries from `first` on of one head.
fn block(
    kernel: &Attention,
    operands: &[&[u32]],
    [example, head]: [usize; 2],
    first: usize,
    mut out: Vec<&mut [f32]>,
    lse: &mut [f32],
) -> Result<()> {
    let n = kernel.sizes;
    let (count, e) = (out.len(), n.value_width);
    let q = matrix(&kernel.operands[0], operands[0], [example, head]);
    let [k, v] = [1, 2].map(|i| matrix(&kernel.operands[i], operands[i], [example, head / n.group()]));
    let sight = Sight::of(kernel, operands, [example, head]);
    with_scratch(scratch(&n), |memory| {
        let (scores, rest) = memory.split_at_mut(ROWS * COLUMNS.min(n.keys));
        let (sums, rest) = rest.split_at_mut(ROWS * e);
        let (tops, totals) = rest.split_at_mut(ROWS);
        let (sums, tops, totals) = (&mut sums[..count * e], &mut tops[..count], &mut totals[..count]);
        sums.fill(0.0);
        tops.fill(f32::NEG_INFINITY);
        totals.fill(0.0);
        let keys = sight.keys(first + count, n.keys);
        for start in (0..keys).step_by(COLUMNS) {
            let stop = (start + COLUMNS).min(keys);
            let scores = &mut scores[..count * (stop - start)];
            sight.scores([q, k], [first..first + count, start..stop], n.width, scores, false)?;
            for (r, row) in scores.chunks_mut(stop - start).enumerate() {
                vectorize(
                    #[inline(always)]
                    || {
                        let (top, total) = exponentials_below(row, tops[r]);
                        if top.to_bits() != tops[r].to_bits() {
                            let shrink = if tops[r] == f32::NEG_INFINITY { 0.0 } else { fast::exp(tops[r] - top) };
                            totals[r] *= shrink;
                            sums[r * e..][..e].iter_mut().for_each(|s| *s *= shrink);
                            tops[r] = top;
                        }
                        totals[r] += total;
                    },
                );
            }
            gemm([count, e, stop - start], sums, true, Matrix::rows_of(stop - start, scores), from_row(v, start), false)?;
        }
        for (r, out) in out.iter_mut().enumerate() {
            let (top, total) = (tops[r], totals[r]);
            let dead = top == f32::NEG_INFINITY;
            lse[r] = if dead { 0.0 } else { top + fast::log(total) };
            let sums = &sums[r * e..][..e];
            out.iter_mut().zip(sums).for_each(|(o, s)| *o = if dead { 0.0 } else { s / total });
        }
        Ok(())
    })
}
