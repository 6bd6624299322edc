//! How sequences are divided among threads: each has some rows of every matrix `[n, ..]` that a result consists of.

use super::panels;
use crate::cpu::matrix::Matrix;
use crate::cpu::scratch::{with_scratch, with_shared};
use crate::error::Result;
use rayon::prelude::*;
use std::ops::Range;

/// Sequences that are worth a thread.
const FEWEST: usize = 4;

/// The rows of each task.
pub(super) fn tasks(batch: usize) -> Vec<Range<usize>> {
    let each = batch.div_ceil(rayon::current_num_threads().max(1)).max(FEWEST);
    (0..batch).step_by(each).map(|first| first..(first + each).min(batch)).collect()
}

/// Runs `body` for each task, with a `[k, n]` matrix in panels, what the task writes, and this many floats per row to work in.
pub(super) fn each_task<P: Send>(
    (matrix, sizes): (Matrix, [usize; 2]),
    tasks: Vec<Range<usize>>,
    parts: Vec<P>,
    floats: usize,
    body: impl Fn(&[f32], Range<usize>, P, &mut [f32]) + Sync,
) -> Result<()> {
    with_shared(panels::len(sizes[0], sizes[1]), |panels| {
        panels::pack(matrix, sizes, panels);
        let panels = &*panels;
        parts.into_par_iter().zip(tasks).try_for_each(|(part, rows)| {
            with_scratch(rows.len() * floats, |memory| {
                body(panels, rows, part, memory);
                Ok(())
            })
        })
    })
}

/// The N parts of a row, one after the other.
pub(super) fn split<const N: usize>(row: &[f32], len: usize) -> [&[f32]; N] {
    std::array::from_fn(|part| &row[part * len..][..len])
}

/// As [`split`].
pub(super) fn split_mut<const N: usize>(row: &mut [f32], len: usize) -> [&mut [f32]; N] {
    let mut parts = row.chunks_exact_mut(len);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// Of a part that has `count` matrices of `batch` rows of `width`, what each task writes: its rows of each matrix.
pub(super) fn divide<'a>(part: &'a mut [f32], batch: usize, width: usize, tasks: &[Range<usize>]) -> Vec<Vec<&'a mut [f32]>> {
    let mut all: Vec<Vec<&mut [f32]>> = tasks.iter().map(|_| Vec::new()).collect();
    for mut matrix in part.chunks_mut((batch * width).max(1)) {
        for (task, rows) in all.iter_mut().zip(tasks) {
            let (own, rest) = matrix.split_at_mut(rows.len() * width);
            task.push(own);
            matrix = rest;
        }
    }
    all
}
