//! Batched matrix products with an epilogue.

use super::elementwise;
use super::expr::{Context, Program};
use super::gemm::gemm;
use super::matrix::Matrix;
use super::scratch::with_shared;
use crate::error::Result;
use crate::plan::{MatMul, MatrixView};
use bytemuck::{cast_slice, cast_slice_mut};
use rayon::prelude::*;

/// `out[batch][m][n] = epilogue(Σ_k a[batch][m][k] * b[batch][k][n])`.
pub(super) fn run(kernel: &MatMul, epilogue: &Program, context: Context, out: &mut [u32]) -> Result<()> {
    let (a, b): (&[f32], &[f32]) = (cast_slice(context.operands[0]), cast_slice(context.operands[1]));
    let (m, n, k) = (kernel.m, kernel.n, kernel.k);
    let batches = kernel.batch.numel();
    let strides = kernel.batch.strides();
    let operand = |view: &MatrixView, batch: usize| {
        let step = |d: usize| (batch / strides[d] % kernel.batch[d]) as i64 * view.batch[d];
        view.offset + (0..kernel.batch.rank()).map(step).sum::<i64>()
    };
    let product = |batch: usize, out: &mut [f32], parallel: bool| {
        let a = Matrix { data: a, offset: operand(&kernel.a, batch), row: kernel.a.row, col: kernel.a.col };
        let b = Matrix { data: b, offset: operand(&kernel.b, batch), row: kernel.b.row, col: kernel.b.col };
        gemm([m, n, k], out, false, a, b, parallel)
    };
    if m * n == 0 || batches == 0 {
        return Ok(());
    }
    // Many small products run beside each other; a few large ones each use all threads.
    let work = (m * n).saturating_mul(k.max(1));
    if batches >= 4 && work <= 256 * 256 * 256 {
        let together = (32_768 / work).max(1);
        return out.par_chunks_mut(m * n * together).enumerate().try_for_each(|(i, chunk)| {
            for (j, out) in cast_slice_mut(chunk).chunks_mut(m * n).enumerate() {
                product(i * together + j, out, false)?;
            }
            elementwise::epilogue(epilogue, context, i * together * m * n, chunk);
            Ok(())
        });
    }
    if is_transposed(kernel) {
        return transposed(kernel, epilogue, context, [a, b], out);
    }
    for (batch, out) in cast_slice_mut(out).chunks_mut(m * n).enumerate() {
        product(batch, out, true)?;
    }
    if !epilogue.is_identity {
        elementwise::run(epilogue, context, out);
    }
    Ok(())
}

/// `x · wᵀ` with a small x: the gemm crate repacks its left operand, which is b, since `out` has contiguous rows. With a
/// transposed result it is x instead.
fn is_transposed(kernel: &MatMul) -> bool {
    let MatMul { ref batch, m, n, k, ref a, ref b, .. } = *kernel;
    batch.numel() == 1 && a.col == 1 && b.row == 1 && 2 * m <= n && k >= 64
}

/// The floats that all threads work in together.
pub(super) fn scratch(kernel: &MatMul) -> usize {
    if is_transposed(kernel) { kernel.m * kernel.n } else { 0 }
}

/// `out = (bᵀ · aᵀ)ᵀ`, transposed together with the epilogue.
fn transposed(kernel: &MatMul, epilogue: &Program, context: Context, [a, b]: [&[f32]; 2], out: &mut [u32]) -> Result<()> {
    let (m, n, k) = (kernel.m, kernel.n, kernel.k);
    let a = Matrix { data: a, offset: kernel.a.offset, row: kernel.a.row, col: kernel.a.col };
    let b = Matrix { data: b, offset: kernel.b.offset, row: kernel.b.row, col: kernel.b.col };
    with_shared(m * n, |columns| {
        gemm([n, m, k], columns, false, b.transposed(), a.transposed(), true)?;
        let columns = &*columns;
        let rows = (8192 / n).clamp(1, m);
        out.par_chunks_mut(rows * n).enumerate().for_each(|(i, chunk)| {
            let lines: &mut [f32] = cast_slice_mut(chunk);
            for (r, line) in lines.chunks_mut(n).enumerate() {
                line.iter_mut().zip(columns[i * rows + r..].iter().step_by(m)).for_each(|(o, &x)| *o = x);
            }
            elementwise::epilogue(epilogue, context, i * rows * n, chunk);
        });
        Ok(())
    })
}
