//! Blocks of scores: a product, scaled and masked.

use super::blocks::from_row;
use crate::cpu::gemm::gemm;
use crate::cpu::matrix::Matrix;
use crate::error::Result;
use crate::graph::View;
use crate::graph::attention::AttentionMask;
use crate::plan::Attention;
use std::ops::Range;

/// What a query sees of a block of keys.
pub(super) struct Sight<'a> {
    causal: bool,
    factor: f32,
    mask: Option<Mask<'a>>,
}

#[derive(Clone, Copy)]
struct Mask<'a> {
    data: &'a [u32],
    is_bool: bool,
    offset: i64,
    row: i64,
    col: i64,
}

impl<'a> Sight<'a> {
    /// For an example and a head of queries.
    #[allow(clippy::cast_possible_truncation, reason = "scores are f32")]
    pub fn of(kernel: &Attention, operands: &[&'a [u32]], [example, head]: [usize; 2]) -> Self {
        let mask = kernel.op.mask_operand().map(|n| {
            let view: &View = &kernel.operands[n];
            let strides = view.strides();
            let offset = view.offset + example as i64 * strides[0] + head as i64 * strides[1];
            Mask { data: operands[n], is_bool: kernel.op.mask == AttentionMask::Bool, offset, row: strides[2], col: strides[3] }
        });
        Self { causal: kernel.op.causal, factor: kernel.op.factor() as f32, mask }
    }

    /// What products are multiplied by.
    pub fn factor(&self) -> f32 {
        self.factor
    }

    /// How many of the first keys any of the queries before `stop` may see.
    pub fn keys(&self, stop: usize, keys: usize) -> usize {
        if self.causal { stop.min(keys) } else { keys }
    }

    /// Fills `out`, row by row, with `q · kᵀ`, scaled and masked; -∞ where a query does not see a key.
    pub fn scores(
        &self,
        [q, k]: [Matrix; 2],
        [rows, keys]: [Range<usize>; 2],
        width: usize,
        out: &mut [f32],
        parallel: bool,
    ) -> Result<()> {
        let size = [rows.len(), keys.len(), width];
        gemm(size, out, false, from_row(q, rows.start), from_row(k, keys.start).transposed(), parallel)?;
        for (row, scores) in rows.zip(out.chunks_mut(keys.len())) {
            self.finish(row, keys.start, scores);
        }
        Ok(())
    }

    /// Scales and masks a row of products.
    #[allow(clippy::cast_possible_truncation, reason = "indices are within a buffer in memory")]
    fn finish(&self, row: usize, first: usize, scores: &mut [f32]) {
        let factor = self.factor;
        let seen = if self.causal { (row + 1).saturating_sub(first).min(scores.len()) } else { scores.len() };
        scores[seen..].fill(f32::NEG_INFINITY);
        let scores = &mut scores[..seen];
        scores.iter_mut().for_each(|s| *s *= factor);
        let Some(Mask { data, is_bool, offset, row: down, col }) = self.mask else { return };
        let at = offset + row as i64 * down + first as i64 * col;
        let word = |j: usize| data[(at + j as i64 * col) as usize];
        for (j, s) in scores.iter_mut().enumerate() {
            *s = match is_bool {
                true if word(j) == 0 => f32::NEG_INFINITY,
                true => *s,
                false => *s + f32::from_bits(word(j)),
            };
        }
    }
}
