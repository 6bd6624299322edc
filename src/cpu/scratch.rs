//! Memory that single kernels work in, kept for the next: one piece that the threads of a device share, since its runs follow each
//! other, and one of each thread's own.

use crate::error::Result;
use crate::host::reserved;
use crate::storage::pool::Counted;
use crate::sync::lock;
use std::cell::RefCell;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

/// Memory, and its bytes in the account of the device that the thread works for.
#[derive(Debug, Default)]
struct Piece {
    floats: Vec<f32>,
    _counted: Option<Counted>,
}

impl Piece {
    /// The same, or a larger one of arbitrary contents, so that it has `len` floats.
    fn grown(self, len: usize, device: Option<&Device>) -> Result<Self> {
        if self.floats.len() >= len {
            return Ok(self);
        }
        // Old contents need no copy, and their memory is free for the new.
        drop(self);
        let mut floats = reserved("a kernel's memory", len)?;
        floats.resize(len, 0.0);
        Ok(Self { floats, _counted: device.map(|device| Counted::new(4 * len as u64, &device.tally)) })
    }

    /// Frees it if it has more than this many bytes.
    fn fit(&mut self, bytes: u64) {
        if 4 * self.floats.len() as u64 > bytes {
            *self = Self::default();
        }
    }
}

/// What the threads of a device share.
#[derive(Debug)]
pub(super) struct Device {
    piece: Mutex<Piece>,
    tally: Arc<AtomicU64>,
}

impl Device {
    /// Nothing yet; its bytes, and those of its threads, will be in the tally.
    pub fn new(tally: Arc<AtomicU64>) -> Arc<Self> {
        Arc::new(Self { piece: Mutex::default(), tally })
    }

    /// Frees the shared piece if it has more than this many bytes.
    pub fn fit(&self, bytes: u64) {
        lock(&self.piece).fit(bytes);
    }

    /// The bytes of the shared piece.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        4 * lock(&self.piece).floats.len()
    }
}

thread_local! {
    static DEVICE: RefCell<Option<Arc<Device>>> = const { RefCell::new(None) };
    static OWN: RefCell<Piece> = RefCell::default();
}

/// Has this thread work for a device.
pub(super) fn work_for(device: Arc<Device>) {
    DEVICE.set(Some(device));
}

/// Lends `len` floats of arbitrary contents for what all threads read or write together: once at a time in a run.
///
/// # Errors
/// Out of memory.
pub(super) fn with_shared<R>(len: usize, body: impl FnOnce(&mut [f32]) -> Result<R>) -> Result<R> {
    let device = DEVICE.with_borrow(Clone::clone);
    let piece = device.as_ref().map(|device| std::mem::take(&mut *lock(&device.piece))).unwrap_or_default();
    let mut piece = piece.grown(len, device.as_deref())?;
    let result = body(&mut piece.floats[..len]);
    if let Some(device) = device {
        *lock(&device.piece) = piece;
    }
    result
}

/// Lends `len` floats of arbitrary contents to this thread.
///
/// # Errors
/// Out of memory.
pub(super) fn with_scratch<R>(len: usize, body: impl FnOnce(&mut [f32]) -> Result<R>) -> Result<R> {
    // Taken out, as a thread that waits inside `body` may start another task.
    let piece = OWN.take();
    let mut piece = DEVICE.with_borrow(|device| piece.grown(len, device.as_deref()))?;
    let result = body(&mut piece.floats[..len]);
    OWN.set(piece);
    result
}

/// Frees this thread's own piece if it has more than this many bytes.
pub(super) fn fit(bytes: u64) {
    OWN.with_borrow_mut(|piece| piece.fit(bytes));
}

/// The bytes of this thread's own piece.
#[cfg(test)]
pub(super) fn bytes() -> usize {
    OWN.with_borrow(|piece| 4 * piece.floats.len())
}
