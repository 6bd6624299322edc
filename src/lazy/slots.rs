//! Lists of live items.

use std::sync::{Arc, Weak};

/// Live items, each in a slot of its own.
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

    /// The items that are alive now.
    pub fn live(&self) -> Vec<Arc<T>> {
        self.items.iter().filter_map(Weak::upgrade).collect()
    }
}
