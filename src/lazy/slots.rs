//! Lists of what lives, and bytes that are counted as long as they do.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// What lives, each in a slot of its own.
#[derive(Debug)]
pub(super) struct Slots<T> {
    items: Vec<Weak<T>>,
    free: Vec<usize>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { items: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// Adds an item that is told its slot.
    pub fn add(&mut self, item: impl FnOnce(usize) -> Arc<T>) -> Arc<T> {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.items.push(Weak::new());
            self.items.len() - 1
        });
        let item = item(slot);
        self.items[slot] = Arc::downgrade(&item);
        item
    }

    /// Frees a slot.
    pub fn remove(&mut self, slot: usize) {
        self.items[slot] = Weak::new();
        self.free.push(slot);
    }

    /// What lives now.
    pub fn live(&self) -> Vec<Arc<T>> {
        self.items.iter().filter_map(Weak::upgrade).collect()
    }
}

/// Bytes of old contents that are kept.
#[derive(Debug, Clone, Default)]
pub(super) struct KeptBytes(Arc<AtomicU64>);

impl KeptBytes {
    /// Counts bytes until what this gives is dropped.
    pub fn keep(&self, bytes: u64) -> Arc<Kept> {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Arc::new(Kept { bytes, total: self.clone() })
    }

    /// All of them now.
    pub fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Old contents that are kept, and counted, as long as this lives.
#[derive(Debug)]
pub(crate) struct Kept {
    bytes: u64,
    total: KeptBytes,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.total.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
