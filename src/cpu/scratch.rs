//! Memory that single kernels work in: one piece per thread, which the thread keeps between calls.

use crate::error::Result;
use crate::host::reserved;
use crate::storage::pool::Counted;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// A thread's piece, and its bytes in the account of the device that the thread works for.
#[derive(Default)]
struct Scratch {
    floats: Vec<f32>,
    counted: Option<Counted>,
    tally: Option<Arc<AtomicU64>>,
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
    // Taken out, as a thread that waits inside `body` may start another image.
    let mut floats = SCRATCH.with_borrow_mut(|s| {
        s.counted = None;
        std::mem::take(&mut s.floats)
    });
    if floats.len() < len {
        // Old contents need no copy, and their memory is free for the new.
        drop(floats);
        floats = reserved("a kernel's memory", len)?;
        floats.resize(len, 0.0);
    }
    let result = body(&mut floats[..len]);
    keep(floats);
    result
}

/// Frees this thread's piece if it is larger than this many bytes.
pub(super) fn fit(bytes: u64) {
    let floats = SCRATCH.with_borrow_mut(|s| std::mem::take(&mut s.floats));
    keep(if 4 * floats.len() as u64 > bytes { Vec::new() } else { floats });
}

/// The bytes of this thread's piece.
#[cfg(test)]
pub(super) fn bytes() -> usize {
    SCRATCH.with_borrow(|s| 4 * s.floats.len())
}

/// Keeps a piece in place of one that a nested call on this thread has left meanwhile.
fn keep(floats: Vec<f32>) {
    SCRATCH.with_borrow_mut(|s| {
        s.counted = s.tally.as_ref().map(|tally| Counted::new(4 * floats.len() as u64, tally));
        s.floats = floats;
    });
}
