//! Memory that single kernels work in: a piece per thread and level of calls within calls, which the thread keeps.

use crate::error::Result;
use crate::host::reserved;
use crate::storage::pool::Counted;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Levels whose pieces are kept: what all threads share lies around what each works in.
const LEVELS: usize = 2;

/// A thread's pieces, and their bytes in the account of the device that the thread works for.
#[derive(Default)]
struct Scratch {
    pieces: [Vec<f32>; LEVELS],
    counted: Option<Counted>,
    tally: Option<Arc<AtomicU64>>,
    /// Calls that have not returned.
    level: usize,
}

impl Scratch {
    /// Counts what is kept.
    fn count(&mut self) {
        let bytes: usize = self.pieces.iter().map(|floats| 4 * floats.len()).sum();
        self.counted = self.tally.as_ref().map(|tally| Counted::new(bytes as u64, tally));
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Has this thread's piece counted.
pub(super) fn count_in(tally: Arc<AtomicU64>) {
    SCRATCH.with_borrow_mut(|s| s.tally = Some(tally));
}

/// Lends `len` floats of arbitrary contents.
///
/// # Errors
/// Out of memory.
pub(super) fn with_scratch<R>(len: usize, body: impl FnOnce(&mut [f32]) -> Result<R>) -> Result<R> {
    // Taken out, as a thread that waits inside `body` may start another task.
    let (level, mut floats) = SCRATCH.with_borrow_mut(|s| {
        let level = s.level;
        let floats = s.pieces.get_mut(level).map(std::mem::take).unwrap_or_default();
        s.count();
        (level, floats)
    });
    if floats.len() < len {
        // Old contents need no copy, and their memory is free for the new.
        drop(floats);
        floats = reserved("a kernel's memory", len)?;
        floats.resize(len, 0.0);
    }
    SCRATCH.with_borrow_mut(|s| s.level = level + 1);
    let result = body(&mut floats[..len]);
    SCRATCH.with_borrow_mut(|s| {
        s.level = level;
        if let Some(piece) = s.pieces.get_mut(level) {
            *piece = floats;
        }
        s.count();
    });
    result
}

/// Frees those of this thread's pieces that are larger than this many bytes, level by level.
pub(super) fn fit(bytes: &[u64]) {
    SCRATCH.with_borrow_mut(|s| {
        for (level, piece) in s.pieces.iter_mut().enumerate() {
            if 4 * piece.len() as u64 > bytes.get(level).copied().unwrap_or(0) {
                *piece = Vec::new();
            }
        }
        s.count();
    });
}

/// The bytes of this thread's pieces.
#[cfg(test)]
pub(super) fn bytes() -> usize {
    SCRATCH.with_borrow(|s| s.pieces.iter().map(|floats| 4 * floats.len()).sum())
}
