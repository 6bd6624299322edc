//! How sequences are divided among threads: each has some rows of every matrix `[n, ..]` that a result consists of.

use std::ops::Range;

/// Sequences that are worth a thread.
const FEWEST: usize = 4;

/// The rows of each task.
pub(super) fn tasks(batch: usize) -> Vec<Range<usize>> {
    let each = batch.div_ceil(rayon::current_num_threads().max(1)).max(FEWEST);
    (0..batch).step_by(each).map(|first| first..(first + each).min(batch)).collect()
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
